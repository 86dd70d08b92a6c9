"""embed_query on a CPU: tokeniser and query tower in one model.

Other profiles use the ensemble of the same name.
"""

from shopwindow.retrieval.embedding.text import clean_queries
from shopwindow.retrieval.live.loading import towers_loader
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.admission import Admission
from shopwindow.triton_models.context import Context


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        self.live = context.live(towers_loader(context.repository, lambda towers: towers.embed_query(["warm up"])))
        self.admission = Admission(context, self._answer)

    def finalize(self):
        self.live.close()

    def execute(self, requests):
        return self.admission.answer(requests)

    def _answer(self, requests):
        towers = self.live.current  # read only once, so that no batch mixes towers

        def embed(prepared):
            embeddings = towers.embed_query([query for queries in prepared for query in queries])
            for part in batch_io.split(embeddings, list(map(len, prepared))):
                yield {"embedding": part, "towers": batch_io.towers_output(towers.bundle, len(part))}

        return batch_io.answer(requests, lambda request: clean_queries(batch_io.texts(request, "query")), embed)
