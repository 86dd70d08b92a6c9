"""query_tokenizer: shoppers' words to token ids."""

import stub
from retrieval.text import TextEncoder, clean_queries


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        bundle = context.bundle
        bundle.check(context.repository, context.layout.query_tokenizer)
        self.encoder = TextEncoder.read(context.layout.query_tokenizer, bundle.query_max_tokens)
        self.pad_to = context.integer("pad_to")

    def execute(self, requests):
        return stub.answer(requests, self._prepare, self._tokenise)

    def _prepare(self, request):
        return clean_queries(stub.texts(request, "query"))

    def _tokenise(self, requests):
        for queries in requests:
            ids, mask = self.encoder.encode(queries, pad_to=self.pad_to)
            yield {"input_ids": ids, "attention_mask": mask}
