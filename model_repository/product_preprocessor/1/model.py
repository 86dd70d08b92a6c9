"""product_preprocessor: titles and encoded photos to the product tower's inputs."""

import stub
from retrieval.products import ProductPreprocessor
from retrieval.text import TextEncoder


class TritonPythonModel:
    def initialize(self, args):
        context = stub.Context(args)
        bundle = context.bundle
        bundle.check(context.repository, context.layout.title_tokenizer)
        titles = TextEncoder.read(context.layout.title_tokenizer, bundle.title_max_tokens)
        self.preprocess = ProductPreprocessor(titles, bundle.image_size)
        self.pad_to = context.integer("pad_to")

    def execute(self, requests):
        return stub.answer(requests, self._prepare, lambda batches: (batch.tensors() for batch in batches))

    def _prepare(self, request):
        return self.preprocess(stub.texts(request, "title"), stub.texts(request, "image"), pad_to=self.pad_to)
