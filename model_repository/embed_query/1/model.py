"""embed_query on a CPU: tokeniser and query tower in one model. On a GPU the ensemble does it."""

import stub
from retrieval.live_loading import towers_loader
from retrieval.text import clean_queries
from stub.admission import Admission


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        self.live = context.live(towers_loader(context.repository, lambda towers: towers.embed_query(["warm up"])))
        self.admission = Admission(context, self._answer)

    def finalize(self):
        self.live.close()

    def execute(self, requests):
        return self.admission.take(requests)

    def _answer(self, requests):
        towers = self.live.current  # once: no batch mixes towers

        def embed(prepared):
            embeddings = towers.embed_query([query for queries in prepared for query in queries])
            for part in stub.split(embeddings, list(map(len, prepared))):
                yield {"embedding": part, "towers": stub.named(towers.bundle, len(part))}

        return stub.answer(requests, lambda request: clean_queries(stub.texts(request, "query")), embed)
