"""embed_product on a CPU: preprocessor and product tower in one model.

Other profiles use the ensemble of the same name.
"""

from shopwindow.retrieval.embedding.product_inputs import concatenate
from shopwindow.retrieval.live.loading import towers_loader
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.admission import Admission
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.photo_desk import PhotoDesk

# Callers embed whole catalogues in large batches, and for them a wait is better than a refusal.
BULK_LIMIT_MS = 5000


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        self.live = context.live(
            towers_loader(context.repository, lambda towers: towers.embed_product(["warm up"], [b""]))
        )
        self.desk = PhotoDesk(context)
        self.admission = Admission(context, self._answer, limit_ms=BULK_LIMIT_MS)

    def finalize(self):
        self.desk.close()
        self.live.close()

    def execute(self, requests):
        with self.desk.executing():
            return self.admission.answer(requests)

    def _answer(self, requests):
        towers = self.live.current  # read only once, so that no batch mixes towers

        def prepare(request):
            titles, images = batch_io.texts(request, "title"), batch_io.texts(request, "image")
            return towers.preprocessor.check_request(titles, images)

        def embed(batches):
            embeddings, weights = towers.embed_prepared(concatenate(batches))
            sizes = [len(batch.pixels) for batch in batches]
            for embedding, weight in zip(
                batch_io.split(embeddings, sizes), batch_io.split(weights, sizes), strict=True
            ):
                made_by = batch_io.towers_output(towers.bundle, len(embedding))
                yield {"embedding": embedding, "modality_weights": weight, "towers": made_by}

        return batch_io.answer(requests, prepare, embed, self.desk)
