"""query_tokenizer: shoppers' words to token ids."""

from shopwindow.retrieval.embedding.text import TextEncoder, clean_queries
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        bundle = context.bundle
        bundle.check(context.repository, context.layout.query_tokenizer)
        self.encoder = TextEncoder.read(context.layout.query_tokenizer, bundle.query_max_tokens)
        self.pad_to = context.integer("pad_to")

    def execute(self, requests):
        return batch_io.answer(requests, self._prepare, self._tokenise)

    def _prepare(self, request):
        return clean_queries(batch_io.texts(request, "query"))

    def _tokenise(self, requests):
        for queries in requests:
            ids, mask = self.encoder.encode(queries, pad_to=self.pad_to)
            yield {"input_ids": ids, "attention_mask": mask}
