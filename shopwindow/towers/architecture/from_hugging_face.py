"""`shopwindow adapt`: turn a Hugging Face folder of CLIP, Chinese-CLIP or SigLIP into a checkpoint.

Photos are prepared differently from how the encoder was trained. We fit the whole photo into the square and pad it with
white (see `shopwindow.retrieval.embedding.images`). The original preprocessors cut out the middle or stretch the photo.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from shopwindow.base.whole_folders import replacing
from shopwindow.towers.architecture.checkpoint import save_checkpoint
from shopwindow.towers.architecture.config import read_json
from shopwindow.towers.architecture.dual_encoder import (
    MODEL_TYPE,
    MODELS,
    DualEncoder,
    DualEncoderConfig,
    import_transformers,
)

# Chinese-CLIP has BERT's 512 positions but was trained on texts of at most 52 tokens (OFA-Sys/Chinese-CLIP, tokenize).
TRAINED_TOKENS = {"chinese_clip": 52}

Channels = tuple[float, float, float]  # red, green, blue


def adapt(source: Path, out: Path, *, title_weight: float = 0.5) -> None:
    """Write a checkpoint that can be exported, indexed and served like one of our own.

    Nothing is downloaded, and no code or pickle in the folder is run. The tokeniser is the one in tokenizer.json.

    Args:
        source: folder with config.json, safetensors weights, tokenizer.json and preprocessor_config.json.
        out: checkpoint folder to write. An adapted checkpoint that is already there is replaced.
        title_weight: weight of the title in a product that also has a photo, above 0 and below 1.

    Raises:
        FileNotFoundError: a file of `source` is missing; the message names it.
        FileExistsError: `out` holds something other than an adapted checkpoint.
        ValueError: the model_type is unsupported, the weights are pickles or incomplete, or the tokeniser, the
            preprocessor or title_weight does not fit.
    """
    _check_out(out)
    config = read_json(_file(source, "config.json"))
    if config.get("model_type") not in MODELS:
        raise ValueError(
            f"{source / 'config.json'}: model_type must be one of {', '.join(MODELS)}, got {config.get('model_type')!r}"
        )
    _check_weights(source)
    tokenizer = Tokenizer.from_file(str(_file(source, "tokenizer.json")))
    preprocessor = read_json(_file(source, "preprocessor_config.json"))
    transformers = import_transformers()
    settings = transformers.AutoConfig.for_model(**config)
    text, limit = settings.text_config, TRAINED_TOKENS.get(config["model_type"])
    tokens = min(text.max_position_embeddings, limit or text.max_position_embeddings)
    _check_tokenizer(tokenizer, settings)
    pad_id, pad = _padding(source, tokenizer)
    tokenizer.enable_padding(pad_id=pad_id, pad_token=pad)  # `text.TextEncoder` reads it
    mean, std = _normalisation(preprocessor)
    towers = DualEncoder(
        DualEncoderConfig(
            model=config,
            pad_id=pad_id,
            embedding_dim=getattr(settings, "projection_dim", None) or text.projection_size,
            query_max_tokens=tokens,
            title_max_tokens=tokens,
            title_weight=title_weight,
            image_size=_image_size(settings),
            image_mean=mean,
            image_std=std,
        ),
        _trained(transformers, settings, source),
    )
    with replacing(out, "config.json") as target:
        save_checkpoint(target, towers, tokenizer)


def _check_out(out: Path) -> None:
    """Refuse to replace a folder that holds another model, such as `source` itself."""
    config = out / "config.json"
    if config.is_file() and read_json(config).get("model_type") != MODEL_TYPE:
        raise FileExistsError(f"{out} holds a model not written by `adapt`, which would be lost: name another folder")


def _file(source: Path, name: str) -> Path:
    if not (source / name).is_file():
        hint = (
            "; write it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)` of transformers"
            if name == "tokenizer.json"
            else ""
        )
        raise FileNotFoundError(f"{source}: {name} is missing{hint}")
    return source / name


def _check_weights(source: Path) -> None:
    if any((source / f"model.safetensors{end}").is_file() for end in ("", ".index.json")):
        return
    pickles = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in source.glob(pattern))
    if pickles:
        raise ValueError(
            f"{source}: the weights exist only as {', '.join(pickles)}; such a pickle can run any code when it is "
            "read, so it is refused; if you trust it, write model.safetensors with "
            "`AutoModel.from_pretrained(...).save_pretrained(...)` of transformers"
        )
    raise FileNotFoundError(f"{source}: model.safetensors is missing")


def _padding(source: Path, tokenizer: Tokenizer) -> tuple[int, str]:
    """Return the id and the text of the token that transformers pads with."""
    named: list[Any] = [
        read_json(source / name).get("pad_token")
        for name in ("tokenizer_config.json", "special_tokens_map.json")
        if (source / name).is_file()
    ]
    named += [(tokenizer.padding or {}).get("pad_token"), "[PAD]"]
    tokens = [token["content"] if isinstance(token, dict) else token for token in named]
    for token in tokens:
        pad_id = tokenizer.token_to_id(token) if token else None
        if pad_id is not None:
            return pad_id, token
    raise ValueError(f"{source / 'tokenizer.json'}: no padding token; name one as pad_token in tokenizer_config.json")


def _check_tokenizer(tokenizer: Tokenizer, settings: Any) -> None:
    """Check that the tokeniser adds the special tokens that the text models pool at, and that all ids are known."""
    highest = max(tokenizer.get_vocab().values())
    if highest >= settings.text_config.vocab_size:
        raise ValueError(
            f"tokenizer.json: holds the id {highest}, but the model's vocab_size is {settings.text_config.vocab_size}"
        )
    ids = tokenizer.encode("a").ids
    if ids == tokenizer.encode("a", add_special_tokens=False).ids:
        raise ValueError("tokenizer.json: adds no special tokens to a text; it needs the model's post_processor")
    end = settings.text_config.eos_token_id
    # Old configs say eos_token_id 2. With those, CLIP pools at the highest id instead.
    if settings.model_type == "clip" and ids[-1] != (max(ids) if end == 2 else end):
        raise ValueError(
            f"tokenizer.json: ends a text with the id {ids[-1]}, but the model pools at eos_token_id {end}"
        )


def _image_size(settings: Any) -> int:
    size = settings.vision_config.image_size
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ValueError(f"config.json: vision_config.image_size must be square, got {size}")
    return int(sides.pop())


def _normalisation(preprocessor: dict[str, Any]) -> tuple[Channels, Channels]:
    """Return the mean and the standard deviation of each channel, for pixel values scaled to 0..1."""
    factor = preprocessor.get("rescale_factor", 1 / 255)
    if not preprocessor.get("do_rescale", True) or abs(factor * 255 - 1) > 1e-3:
        raise ValueError(f"preprocessor_config.json: pixels must be scaled by 1/255, got rescale_factor {factor}")
    if not preprocessor.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _channels(preprocessor, "image_mean"), _channels(preprocessor, "image_std")


def _channels(preprocessor: dict[str, Any], name: str) -> Channels:
    values = preprocessor.get(name)
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"preprocessor_config.json: {name} must be 3 numbers, got {values}")
    return values[0], values[1], values[2]


def _trained(transformers: Any, settings: Any, source: Path) -> Any:
    """Load the model with its weights, as float32."""
    model, found = transformers.AutoModel.from_pretrained(
        source,
        config=settings,
        attn_implementation="eager",
        dtype="float32",
        local_files_only=True,
        output_loading_info=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    if found["missing_keys"]:
        raise ValueError(f"{source}: the weights lack {', '.join(sorted(found['missing_keys'])[:5])}")
    return model.eval()
