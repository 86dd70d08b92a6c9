"""product_preprocessor: titles and encoded photos to the product tower's inputs."""

from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.photo_desk import PhotoDesk


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        bundle = context.bundle
        bundle.check(context.repository, context.layout.title_tokenizer)
        titles = TextEncoder.read(context.layout.title_tokenizer, bundle.title_max_tokens)
        self.preprocess = ProductPreprocessor(titles, bundle.image_size)
        self.pad_to = context.integer("pad_to")
        self.desk = PhotoDesk(context)

    def finalize(self):
        self.desk.close()

    def execute(self, requests):
        with self.desk.executing():
            return batch_io.answer(requests, self._prepare, self._tensors, self.desk)

    def _prepare(self, request):
        titles, images = batch_io.texts(request, "title"), batch_io.texts(request, "image")
        return self.preprocess.check_request(titles, images, pad_to=self.pad_to)

    def _tensors(self, batches):
        return [batch.tensors() for batch in batches]
