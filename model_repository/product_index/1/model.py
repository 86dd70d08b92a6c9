"""product_index: embeddings, or products to search with, to product ids and scores."""

from itertools import starmap

import triton_python_backend_utils as pb_utils

from shopwindow.retrieval.embedding.bundle import check_plans
from shopwindow.retrieval.embedding.text import clean_queries
from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.live.loading import index_loader
from shopwindow.retrieval.request.parameters import parse_parameters
from shopwindow.retrieval.search.by_channels import ChannelRequest, check_channels, search_channels
from shopwindow.retrieval.search.like import embed_like
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.admission import Admission
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.searching import Searching


class TritonPythonModel:
    def initialize(self, args):
        context = Context(args)
        engine = EngineOptions.from_environment(
            instance_kind=args["model_instance_kind"], device=int(args["model_instance_device_id"])
        )
        if args["model_instance_kind"] == "GPU":  # then the towers are TensorRT plans, which do not check themselves
            check_plans(context.repository)
        self.live = context.live(index_loader(context.repository, engine, follow=context.flag("follow_towers")))
        self.searching = Searching(  # other models do the two stages before the search
            context, (None, None), generation=lambda: self.live.current.manifest.generation
        )
        pb_utils.Logger.log_info(f"product_index: {self.live.current.engine_description}")
        self.admission = Admission(context, self._answer, count=self.searching.count)

    def finalize(self):
        self.live.close()
        self.searching.close()

    def execute(self, requests):
        return self.admission.answer(requests)

    def _answer(self, requests):
        index = self.live.current  # read only once, so that no batch mixes generations

        def prepare(request):
            parameters = parse_parameters(batch_io.parameters(request))
            excluded = ()
            if not batch_io.has_input(request, "like"):
                embeddings = batch_io.array(request, "embedding")
                index.check(embeddings, parameters)
            elif batch_io.has_input(request, "embedding"):
                raise InvalidRequest("like", "takes the place of embedding; send one of the two")
            else:
                # First of all the generation: another one may lack the products.
                index.check_parameters(parameters)
                embeddings, excluded = embed_like(index, batch_io.texts(request, "like"))
            queries = clean_queries(batch_io.texts(request, "query")) if batch_io.has_input(request, "query") else []
            check_channels(index, parameters, words=bool(queries))
            return (embeddings, queries, excluded), parameters

        def embed(items, _):
            return [item.content[0] for item in items]

        def search(items):
            requests = [(item.embeddings, item.content[1], item.parameters, item.content[2]) for item in items]
            return search_channels(index, list(starmap(ChannelRequest, requests)))

        return self.searching.answer(
            requests,
            prepare,
            embed,
            search,
            index=index,
            costs=lambda content: [1] * len(content[0]),
        )
