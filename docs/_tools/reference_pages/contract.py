"""docs/reference/contract.md, from the templates of the model repository."""

from __future__ import annotations

import re

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from reference_pages.markdown import code, table
from shopwindow.base.photos.header import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from shopwindow.retrieval.embedding.product_inputs import MAX_REQUEST_BYTES, MAX_REQUEST_PIXELS
from shopwindow.retrieval.embedding.text import MAX_CHARACTERS
from shopwindow_export.repository.rendering import ENSEMBLES, MODELS

# Numbers that a rendered repository has in these places, and how the page shows them.
_SIZES = {"embedding_dim": (10_007, "d"), "image_size": (10_009, "s"), "title_max_tokens": (10_037, "t")}
_SIZES |= {"query_max_tokens": (10_039, "t")}
_K = ("product_ids", "scores", "product_keys", "channels", "attributes", "group_sizes", "group_members")
_PUBLIC = {
    "retrieve": "Words in, products out.",
    "retrieve_similar": "A title, a photo or both in, products out. With a photo and words, it finds products like "
    "the one in the photo, changed as the words say.",
    "embed_query": "Words in, embedding out.",
    "embed_product": "A title, a photo or both in, embedding out.",
    "product_index": "Embeddings in, products out; or products of the index in, and products like these out.",
}
_TENSORS = {
    "query": "a shopper's words, UTF-8",
    "title": "a product's title, UTF-8; empty if there is none",
    "image": "an encoded JPEG, PNG or WebP photo; empty if there is none",
    "embedding": "embedding of length 1 (L2-normalised)",
    "modality_weights": "how much the title and the photo counted; they add up to 1",
    "towers": "hash of the towers that made the embedding",
    "product_ids": "ids of the products, the best first; -1 is padding",
    "scores": "score of each product; -inf is padding",
    "product_keys": "text ids of the products, UTF-8; empty is padding. No columns, [0], if the ids of the index are "
    "whole numbers",
    "like": 'products to search with in place of an embedding, JSON: `{"ids": [7, 9], "weights": [1, -0.5]}`; ids as '
    "the shop has them. They are not found themselves",
    "attributes": "attributes of each product that the parameter `fields` names, one JSON object; empty is padding. No "
    "columns, [0], without `fields`",
    "total": "how many products qualify, with `collapse` how many groups; -1 if they cannot be counted",
    "facets": "counts that the parameter `facets` asks for, a JSON object; empty without it",
    "group_sizes": "with `collapse`, how many products stand behind each product, itself counted; 0 is padding. No "
    "columns, [0], without it",
    "group_members": "with `members` of `collapse`, the ids of the best of these, a JSON list; empty is padding. No "
    "columns, [0], without it",
    "channels": "what found each product: 1 the embedding, 2 the words (lexical), 3 both; 0 is padding",
    "generation": "generation of the index that answered",
    "effort": "effort that was searched with",
    "timings_us": "microseconds of tokenising or decoding, of the tower, of the search, and of all; then the rows "
    "of the batch, and the longest wait in Triton's queue; -1 is unknown, or the work of another model",
    "input_ids": "token ids",
    "attention_mask": "1 for a token, 0 for padding",
    "query_embedding": "embedding of the words",
    "title_ids": "token ids of the title",
    "title_mask": "1 for a token, 0 for padding",
    "pixels": "the photo, fitted into a square of s pixels, red, green, blue",
    "modality_mask": "1 if there is a title, 1 if there is a photo",
    "product_embedding": "embedding of the product",
}
_INTRODUCTION = f"""# Contract

Any Triton client can ask: gRPC (port 8001) or HTTP (port 8000). The first dimension of every tensor is the number of
rows of the request; the tables leave it out. `d` is the length of an embedding, `k` is `top_k`. BYTES is Triton's type
for texts and files. [Request parameters](parameters.md) say what else a request may carry.

A row is padded with id -1 and score -inf if fewer than `k` products qualify. A wrong request gets INVALID_ARGUMENT
(HTTP 400). A query or a title has at most {MAX_CHARACTERS:,} characters. A photo has at most
{MAX_BYTES // 2**20} MiB, {MAX_SIDE:,} pixels a side and {MAX_PIXELS // 10**6} million pixels. The photos of a request
have at most {MAX_REQUEST_BYTES // 2**20} MiB and {MAX_REQUEST_PIXELS // 10**6} million pixels in all.

Queries and titles are folded before towers and BM25 read them, so that different ways to write the same words give
the same answer: full-width and half-width letters, ligatures, composed accents, hyphens, apostrophes and spaces
become usual ones. Invisible characters are dropped, such as soft hyphens and zero-width spaces. HTML entities become
their characters, and HTML tags are dropped; `size < 5 > 3` has none.

Each model below says how many rows a request has at most. Triton itself refuses a request with more rows. Its message
names the limit and the model.

A request that names no outputs gets all of them. Name the outputs that you need; `shopwindow_client` does.

JSON has no infinity. Over HTTP, Triton writes the score of a padded place as `-Infinity`, which strict parsers refuse.
Ask for `product_ids` alone, or for binary outputs.
"""


def page() -> str:
    """Return the page."""
    parts = [_INTRODUCTION, "## Models to ask\n"]
    parts += [_public(name) for name in _PUBLIC]
    parts.append("## Steps\n")
    parts.append(
        "Under the profiles `gpu`, `onnxruntime` and `cpu-ensemble`, the first four models above are pipelines of\n"
        "`product_index` and these. They may change at any time. `s` is the side of a photo in pixels,\n"
        "`t` a number of tokens.\n"
    )
    steps = [path.name for path in sorted(MODELS.iterdir()) if path.name not in _PUBLIC and path.is_dir()]
    parts += [_section(name, _parse((MODELS / name / "config.pbtxt").read_text())) for name in steps]
    return "\n".join(parts)


def _public(name: str) -> str:
    config = _parse((MODELS / name / "configs" / "cpu.pbtxt").read_text())
    ensemble = ENSEMBLES / f"{name}.pbtxt"
    if not ensemble.is_file():
        return _section(name, config, _PUBLIC[name])
    wired = _parse(ensemble.read_text())
    fused = {tensor.name for tensor in config.output}
    own = fused - {tensor.name for tensor in wired.output}
    steps = " → ".join(f"`{step.model_name}`" for step in wired.ensemble_scheduling.step)
    text = f"{_PUBLIC[name]} Under the profile `cpu` it is one model, in other profiles {steps}."
    if own:
        text += f" Only the profile `cpu` gives {', '.join(f'`{each}`' for each in sorted(own))}."
    return _section(name, config, text)


def _section(name: str, config: ModelConfig, text: str = "") -> str:
    rows = [(code(each.name), "input", *_shown(each)) for each in config.input]
    rows += [(code(each.name), "output", *_shown(each)) for each in config.output]
    head = f"### {name}\n\n" + (f"{text} " if text else "")
    most = f"A request has at most {config.max_batch_size} rows.\n\n"
    return head + most + table(("tensor", "", "type", "shape of a row", "meaning"), rows)


def _shown(tensor: object) -> tuple[str, str, str]:
    kind = DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")  # type: ignore[attr-defined]
    name = tensor.name  # type: ignore[attr-defined]
    named = dict(_SIZES.values()) | {-1: "k" if name in _K else "t"}
    shape = ", ".join(named.get(size, str(size)) for size in tensor.dims)  # type: ignore[attr-defined]
    meaning = _TENSORS[name]
    if getattr(tensor, "optional", False):
        meaning += "; may be left out"
    return kind, f"[{shape}]", meaning


def _parse(template: str) -> ModelConfig:
    for name, (number, _) in _SIZES.items():
        template = template.replace(f"${{{name}}}", str(number))
    # What else is filled in does not belong to the contract.
    template = re.sub(r"count: \$\{\w+\}", "count: 1", template)
    config: ModelConfig = text_format.Parse(re.sub(r'(?<!")\$\{\w+\}', "", template), ModelConfig())
    return config
