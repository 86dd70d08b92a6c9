"""Training in two processes equals one process with all rows, gives all ranks the same weights, and can be resumed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn import functional as F

from shopwindow.towers.architecture.checkpoint import load_checkpoint
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.data.training_data import load_catalog, load_clicks
from shopwindow.towers.training.batches import Batch, ClickBatches
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.fit import LOG, STATE, fit
from shopwindow.towers.training.log import read_log
from shopwindow.towers.training.objective import Objective
from shopwindow.towers.training.processes import average_gradients, check_same, choose_device, move, share_weights
from tests.towers.small import SIZES, small_towers, write_catalog, write_clicks
from tests.towers.training.test_pretrain import write_config

TRAINING = TrainingConfig(steps=1, bf16=False, composed_share=0.8, memory_bank=12, memory_warmup=0)
# Both ranks hold products clicked for "mug" (pair 1) and "lamp" (pair 3), so there are known positives across ranks.
PAIRS = ([0, 1, 3, 9, 14], [1, 8, 11, 16, 25])


def rank_batch(folder: Path, rank: int) -> Batch:
    """Return the batch of a rank. Only the first rank has keyword queries, so the numbers of queries differ."""
    catalog = load_catalog(folder / "products.parquet", 16)
    clicks = load_clicks(folder / "clicks.parquet", catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    training = replace(TRAINING, keyword_queries=rank == 0)
    config = TowerConfig(vocab_size=60, **SIZES)
    return ClickBatches(config, tokenizer, catalog, clicks, training).make(
        np.array(PAIRS[rank]), np.random.default_rng(rank)
    )


def joined(first: Batch, second: Batch) -> Batch:
    """Return the rows of both ranks in one batch."""

    def texts(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        longest = max(one[0].shape[1], other[0].shape[1])
        ids, mask = (
            torch.cat([F.pad(rows, (0, longest - rows.shape[1])) for rows in part])
            for part in zip(one, other, strict=True)
        )
        return ids, mask

    names = ("pixels", "has_image", "has_title", "own_photo", "own_title", "products")
    return Batch(
        query=texts(first.query, second.query),
        title=texts(first.title, second.title),
        positive=torch.block_diag(first.positive.int(), second.positive.int()).bool(),
        known_products=[*first.known_products, *second.known_products],
        **{name: torch.cat([getattr(first, name), getattr(second, name)]) for name in names},
    )


def step(batch: Batch, **changes: Any) -> dict[str, Tensor]:
    """Return loss, gradients and memory bank of a step. Gradients are averaged over the ranks if there are any."""
    objective = Objective(small_towers(vocab_size=60), replace(TRAINING, **changes))
    embeddings = torch.randn(3, 12, generator=torch.Generator().manual_seed(3))
    objective.bank.push(F.normalize(embeddings, dim=1), torch.tensor([4, 900, 901]))  # 4 was clicked for "mug"
    loss = objective(batch, 5)["contrast"]
    loss.backward()
    average_gradients(objective)
    gradients = torch.cat([p.grad.flatten() for p in objective.parameters() if p.grad is not None])
    remembered, ids = objective.bank.read()
    return {"loss": loss.detach(), "gradients": gradients, "bank": remembered, "ids": ids}


def train_rank(rank: int, folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the weights after a whole training, and after one that was stopped and resumed."""
    catalog = load_catalog(folder / "products.parquet", 16)
    clicks = load_clicks(folder / "clicks.parquet", catalog)
    tokenizer = train_tokenizer([*catalog.titles, *clicks.queries], 60)
    training = TrainingConfig(
        steps=6, batch_size=6, save_every=2, keyword_queries=True, masked_words=0.5, masked_patches=0.5, memory_bank=30
    )
    forward = Objective.forward

    def train(out: str, stop: int) -> dict[str, Tensor]:
        def until(objective: Objective, batch: Batch, number: int) -> dict[str, Tensor]:
            if number == stop:
                raise InterruptedError
            return forward(objective, batch, number)

        Objective.forward = until  # type: ignore[method-assign]
        towers = small_towers(seed=rank, vocab_size=tokenizer.get_vocab_size())  # other weights on each rank
        (folder / out).mkdir(exist_ok=True)
        fit(towers, tokenizer, catalog, clicks, training, folder=folder / out)
        return towers.state_dict()

    whole = train("whole", -1)
    with pytest.raises(InterruptedError):
        train("stopped", 5)
    assert (folder / "stopped" / STATE).is_dir()
    return {"whole": whole, "stopped": train("stopped", 0)}  # starting again from step 0 would raise


def unused_gradients(rank: int) -> list[Tensor | None]:
    """Return the averaged gradients of parameters that both ranks, only the first rank, and no rank used."""
    model = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(2.0)) for _ in range(3)])
    (model[0] * (rank + 1) + (model[1] if rank == 0 else 0)).backward()
    average_gradients(model)
    return [parameter.grad for parameter in model]


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    batch = rank_batch(Path(folder), rank)
    found = {"all": step(batch), "own": step(batch, cross_device=False), "unused": unused_gradients(rank)}
    found |= train_rank(rank, Path(folder))
    with pytest.raises(ValueError, match=r"the answer: processes \[1\] differ from process 0; all must read the same"):
        check_same("the answer", str(rank))
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder that two ranks worked in, and the results of each."""
    folder = tmp_path_factory.mktemp("ranks")
    write_catalog(folder)
    write_clicks(folder)
    mp.spawn(run_rank, args=(str(folder),), nprocs=2)
    return folder, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_ranks_train_like_one_process_with_the_rows_of_both(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, found = ranks
    batches = [rank_batch(folder, rank) for rank in range(2)]
    both = joined(*batches)
    assert len(batches[0].query[0]) > len(batches[1].query[0])
    assert both.known_among(both.products)[: len(batches[0].query[0]), len(PAIRS[0]) :].any()
    assert not both.own_photo.all()
    expected = step(both)
    torch.testing.assert_close((found[0]["all"]["loss"] + found[1]["all"]["loss"]) / 2, expected["loss"])
    for rank in range(2):
        torch.testing.assert_close(found[rank]["all"]["gradients"], expected["gradients"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found[rank]["all"]["bank"], expected["bank"])
        assert found[rank]["all"]["ids"].tolist() == expected["ids"].tolist()


def test_a_parameter_that_no_rank_used_has_no_gradient(
    ranks: tuple[Path, list[dict[str, Any]]],
) -> None:
    for found in ranks[1]:
        assert found["unused"] == [torch.tensor(1.5), torch.tensor(0.5), None]


def test_without_cross_device_negatives_each_rank_uses_only_its_own_rows(
    ranks: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, found = ranks
    alone = [step(rank_batch(folder, rank)) for rank in range(2)]
    gradients = (alone[0]["gradients"] + alone[1]["gradients"]) / 2
    for rank in range(2):
        torch.testing.assert_close(found[rank]["own"]["loss"], alone[rank]["loss"])
        torch.testing.assert_close(found[rank]["own"]["gradients"], gradients, rtol=1e-4, atol=1e-6)
        assert (
            found[rank]["own"]["ids"].tolist() == found[rank]["all"]["ids"].tolist()
        )  # the bank holds the products of both


def test_ranks_end_with_the_same_weights_even_after_a_stop(
    ranks: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, (first, second) = ranks
    for weights in (second["whole"], first["stopped"], second["stopped"]):
        torch.testing.assert_close(weights, first["whole"], rtol=0, atol=0)
    assert read_log(folder / "whole" / LOG) == read_log(folder / "stopped" / LOG)


def test_torchrun_writes_one_checkpoint(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    write_clicks(tmp_path)
    config = write_config(tmp_path, steps=2, validation_share=0.2, device="cpu")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "shopwindow.cli.main", "pretrain", "--config", str(config)]
    command += ["--catalog", str(tmp_path / "products.parquet"), "--clicks", str(tmp_path / "clicks.parquet")]
    command += ["--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("processes: 2; device: cpu") == 1
    assert done.stdout.count("wrote ") == 1
    towers = load_checkpoint(tmp_path / "out").towers
    assert all(bool(torch.isfinite(parameter).all()) for parameter in towers.parameters())
    assert [line["step"] for line in read_log(tmp_path / "out" / LOG)] == [0, 1]


def test_a_single_process_keeps_its_weights_and_gradients() -> None:
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    before = [layer.weight.detach().clone(), layer.weight.grad]
    share_weights(layer)
    average_gradients(layer)
    assert torch.equal(layer.weight, before[0])
    assert layer.weight.grad is before[1]


def test_a_process_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = torch.cuda.device_count()
    monkeypatch.setenv("LOCAL_RANK", str(gpus))
    with pytest.raises(
        ValueError, match=rf"device: process {gpus} .* needs a separate GPU, but torch sees only {gpus}"
    ):
        choose_device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_every_tensor_of_a_batch_moves_to_the_device(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    write_clicks(tmp_path)
    moved = move(rank_batch(tmp_path, 0), torch.device("meta"))
    for value in vars(moved).values():
        for tensor in [value] if isinstance(value, Tensor) else value:
            assert tensor.device.type == "meta"
