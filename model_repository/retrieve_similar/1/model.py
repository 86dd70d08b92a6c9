"""retrieve_similar on a CPU: preprocessor, product tower and index in one model.

Other profiles use the ensemble of the same name.
"""

from shopwindow.retrieval.live.loading import pipeline_loader
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.admission import Admission
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.photo_desk import PhotoDesk
from shopwindow.triton_models.searching import Searching


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        self.live = context.live(
            pipeline_loader(context.repository, lambda pipeline: pipeline.retrieve_similar(["warm up"], [b""]))
        )
        self.searching = Searching(
            context,
            ("decode", "tower"),
            generation=lambda: self.live.current.index.manifest.generation,
            reading="decode",
            threads=context.threads,
        )
        self.desk = PhotoDesk(context, count=self.searching.count)
        self.admission = Admission(context, self._answer, count=self.searching.count)

    def finalize(self):
        self.desk.close()
        self.live.close()
        self.searching.close()

    def execute(self, requests):
        with self.desk.executing():
            return self.admission.answer(requests)

    def _answer(self, requests):
        pipeline = self.live.current  # read only once, so that no batch mixes generations

        def prepare(request):
            titles, images = batch_io.texts(request, "title"), batch_io.texts(request, "image")
            products = pipeline.preprocessor.check_request(titles, images)
            return products, pipeline.prepare_parameters(batch_io.parameters(request))

        def embed(items, watch):
            embeddings = pipeline.embed_batches([item.content for item in items])
            watch.lap("tower")
            return embeddings

        def search(items):
            requests = [ChannelRequest(item.embeddings, (), item.parameters) for item in items]
            return search_channels(pipeline.index, requests)

        return self.searching.answer(
            requests,
            prepare,
            embed,
            search,
            index=pipeline.index,
            costs=lambda batch: [1] * len(batch.pixels),
            desk=self.desk,
        )
