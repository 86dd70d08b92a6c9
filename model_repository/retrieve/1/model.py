"""retrieve on a CPU: tokeniser, query tower and index in one model.

Other profiles use the ensemble of the same name.
"""

from shopwindow.retrieval.embedding.text import clean_queries
from shopwindow.retrieval.live.loading import pipeline_loader
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
from shopwindow.retrieval.search.result_cache import bytes_from_environment
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.admission import Admission
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.searching import Searching


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        self.live = context.live(
            pipeline_loader(
                context.repository,
                lambda pipeline: pipeline.retrieve(["warm up"]),
                cache_bytes=bytes_from_environment(),
            )
        )
        self.searching = Searching(
            context,
            ("tokenise", "tower"),
            generation=lambda: self.live.current.index.manifest.generation,
            caches=lambda: {"embedding": self.live.current.cache, "result": self.live.current.index.cache},
            threads=context.threads,
        )
        self.admission = Admission(context, self._answer, count=self.searching.count)

    def finalize(self):
        self.live.close()
        self.searching.close()

    def execute(self, requests):
        return self.admission.answer(requests)

    def _answer(self, requests):
        pipeline = self.live.current  # read only once, so that no batch mixes generations

        def prepare(request):
            queries = clean_queries(batch_io.texts(request, "query"))
            return queries, pipeline.prepare_parameters(batch_io.parameters(request), words=True)

        def embed(items, watch):
            embeddings = pipeline.embed_requests([(item.content, item.parameters) for item in items], watch)
            watch.lap("tokenise")  # the lookup in the cache counts as tokenising
            return embeddings

        def search(items):
            requests = [ChannelRequest(item.embeddings, item.content, item.parameters) for item in items]
            return search_channels(pipeline.index, requests)

        return self.searching.answer(
            requests, prepare, embed, search, index=pipeline.index, costs=pipeline.costs_of_queries
        )
