"""product_preprocessor: titles and encoded photos to the product tower's inputs."""

from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        bundle = context.bundle
        bundle.check(context.repository, context.layout.title_tokenizer)
        titles = TextEncoder.read(context.layout.title_tokenizer, bundle.title_max_tokens)
        self.preprocess = ProductPreprocessor(titles, bundle.image_size)
        self.pad_to = context.integer("pad_to")

    def execute(self, requests):
        return batch_io.answer(requests, self._prepare, lambda batches: (batch.tensors() for batch in batches))

    def _prepare(self, request):
        return self.preprocess(batch_io.texts(request, "title"), batch_io.texts(request, "image"), pad_to=self.pad_to)
