"""What ``TrainModule`` logs, validates, tests and predicts, under a bare Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainkit.data.evaluation_loader import EvaluationLoader
from trainkit.data.loader import BatchLoader
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.sources import TensorSource
from trainkit.optim import constant, sgd
from trainkit.tasks import Classification, Regression
from trainkit.training import TrainModule
from trainkit.training.random_state import get_random_state
from trainkit.types import Batch, StepOutput

if TYPE_CHECKING:
    from tests.training.conftest import Recorder

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

MakeTrainer = Callable[..., L.Trainer]
ROWS = torch.arange(103)


@pytest.fixture
def module() -> TrainModule:
    return TrainModule(nn.Linear(6, 3), Classification(3), sgd(lr=0.1, momentum=0, nesterov=False, weight_decay=0))


def arrays(source: TensorSource) -> tuple[Tensor, Tensor]:
    inputs, target = source.fetch(ROWS)
    assert isinstance(inputs, Tensor)
    return inputs, target


@pytest.mark.parametrize("kind", ["padded", "DataLoader"])
def test_validation_equals_scikit_learns(
    trainer: MakeTrainer, toy: TensorSource, module: TrainModule, kind: str
) -> None:
    inputs, target = arrays(toy)
    plain = DataLoader(TensorDataset(inputs, target), 16)
    loader = EvaluationLoader(toy, ROWS, batch_size=16) if kind == "padded" else plain
    probabilities = module(inputs).detach().double().softmax(dim=1).numpy()
    expected = {
        "val/loss": pytest.approx(log_loss(target.numpy(), probabilities)),
        "val/accuracy": pytest.approx(accuracy_score(target.numpy(), probabilities.argmax(axis=1))),
    }
    fit = trainer()
    assert fit.validate(module, loader, verbose=False) == [expected]
    assert fit.validate(module, loader, verbose=False) == [expected]
    tested = fit.test(module, loader, verbose=False)
    assert tested == [{name.replace("val/", "test/"): value for name, value in expected.items()}]


@pytest.mark.parametrize("kind", ["padded", "DataLoader", "inputs only"])
def test_predictions(trainer: MakeTrainer, toy: TensorSource, module: TrainModule, kind: str) -> None:
    inputs, target = arrays(toy)
    loaders: dict[str, Any] = {
        "padded": EvaluationLoader(toy, ROWS, batch_size=16),
        "DataLoader": DataLoader(TensorDataset(inputs, target), 16),
        "inputs only": DataLoader(inputs, 16),  # type: ignore[arg-type]
    }
    batches = trainer().predict(module, loaders[kind])
    assert batches is not None
    predictions = torch.cat([batch for batch in batches if isinstance(batch, Tensor)])
    assert predictions.dtype == torch.float64
    torch.testing.assert_close(predictions, module(inputs).detach().double().softmax(dim=1))


class Scaled(TrainModule):
    """A subclass with a loss of its own, for whose batches padding has to be cut off before it."""

    sizes: tuple[int, ...] = ()

    def loss(self, batch: Batch) -> StepOutput:
        self.sizes += (len(batch[1]),)
        output = super().loss(batch)
        return output._replace(loss_sum=10 * output.loss_sum)


def test_a_loss_of_ones_own_sees_no_padding(trainer: MakeTrainer, toy: TensorSource, module: TrainModule) -> None:
    own = Scaled(module.model, Classification(3))
    loader = EvaluationLoader(toy, ROWS, batch_size=50)
    values = [trainer().validate(m, loader, verbose=False)[0] for m in (module, own)]
    assert own.sizes == (50, 50, 3)
    assert values[1]["val/loss"] == pytest.approx(10 * values[0]["val/loss"])
    assert values[1]["val/accuracy"] == values[0]["val/accuracy"]


def test_regression_is_validated_in_its_own_unit(trainer: MakeTrainer, toy: TensorSource) -> None:
    inputs, target = arrays(toy)
    module = TrainModule(nn.Linear(6, 1), Regression(1.0, 0.5))
    values = trainer().validate(module, DataLoader(TensorDataset(inputs, target.double()), 16), verbose=False)[0]
    error = module(inputs).detach().double().squeeze(1) * 0.5 + 1.0 - target
    assert values["val/rmse"] == pytest.approx(float(error.square().mean().sqrt()))
    assert values["val/mae"] == pytest.approx(float(error.abs().mean()))
    assert values["val/loss"] == pytest.approx(float(error.square().mean()) / 0.25)


@pytest.fixture
def recorder(job: Callable[..., Any]) -> Recorder:
    made: Recorder = job(max_steps=1).fit().recorder
    made.rows.clear()
    return made


def test_what_is_logged(trainer: MakeTrainer, toy: TensorSource, module: TrainModule, recorder: Recorder) -> None:
    """Two batches of 40 in a window, at a learning rate that never changes: all by hand, on the first weights."""
    module.scheduler_factory = constant(warmup=3)
    module.optimizer_factory = sgd(lr=1e-30)
    inputs, target = arrays(toy)
    fit = trainer(max_steps=2, logger=recorder, log_every_n_steps=2)
    fit.fit(module, DataLoader(TensorDataset(inputs, target), 40))
    outputs = module(inputs[:80])
    loss = float(module.task.loss(outputs.detach(), target[:80])[0])
    last, _ = module.task.loss(outputs[40:], target[40:80])
    grads = torch.autograd.grad(last / 40, list(module.model.parameters()))
    assert {x for x, *_ in recorder.rows} == {1}
    assert {name: value for _, name, value in recorder.rows} == {
        "train/loss": pytest.approx(loss / 80),
        "train/accuracy": pytest.approx(float((outputs.argmax(dim=1) == target[:80]).float().mean())),
        "lr": pytest.approx(2e-30 / 3, rel=1e-6, abs=0),
        "grad_norm": pytest.approx(float(nn.utils.get_total_norm(grads))),
        "epoch": 0,
    }
    assert float(fit.callback_metrics["train/loss"]) == pytest.approx(loss / 80)


@pytest.mark.parametrize(
    ("clip", "limit"), [({}, None), ({"clip_norm": 0.01}, 0.01), ({"clip_value": 1e-4}, 18**0.5 * 1e-4)]
)
def test_clipping(
    trainer: MakeTrainer,
    toy: TensorSource,
    recorder: Recorder,
    module: TrainModule,
    clip: dict[str, Any],
    limit: float | None,
) -> None:
    """One plain step: the change of the weights is the clipped gradient times the learning rate."""
    model = nn.Linear(6, 3, bias=False)
    before = model.weight.detach().clone()
    own = TrainModule(model, Classification(3), module.optimizer_factory, **clip)
    trainer(max_steps=1, logger=recorder, log_every_n_steps=1).fit(own, DataLoader(TensorDataset(*arrays(toy)), 103))
    norm = {name: value for _, name, value in recorder.rows}["grad_norm"]
    change = float((model.weight.detach() - before).norm()) / 0.1
    assert change == pytest.approx(norm if limit is None or "clip_value" in clip else limit, rel=1e-3)
    if "clip_value" in clip:
        assert norm == pytest.approx(limit, rel=1e-3)
    elif limit is not None:
        assert norm > 10 * limit


def test_logging_may_be_switched_off(
    trainer: MakeTrainer, toy: TensorSource, module: TrainModule, recorder: Recorder
) -> None:
    fit = trainer(max_steps=3, logger=recorder, log_every_n_steps=0)
    fit.fit(module, DataLoader(TensorDataset(*arrays(toy)), 16))
    assert fit.global_step == 3
    assert recorder.rows == []


def test_a_sanity_check_leaves_no_trace(trainer: MakeTrainer, toy: TensorSource, module: TrainModule) -> None:
    loader = DataLoader(TensorDataset(*arrays(toy)), 103)
    fit = trainer(max_epochs=1, num_sanity_val_steps=2)
    fit.fit(module, loader, EvaluationLoader(toy, ROWS, batch_size=16))
    values = {name: float(fit.callback_metrics[name]) for name in ("val/loss", "val/accuracy")}
    assert trainer().validate(module, EvaluationLoader(toy, ROWS, batch_size=16), verbose=False) == [
        {name: pytest.approx(value) for name, value in values.items()}
    ]


def test_a_loader_out_of_step_is_noticed(trainer: MakeTrainer, toy: TensorSource, module: TrainModule) -> None:
    loader = BatchLoader(toy, ROWS, batch_size=16, plan=ExecutionPlan(max_steps=9))
    loader.state = LoaderState(0, 2, 5)
    with pytest.raises(RuntimeError, match="the loader stands at step 6, the trainer at 1"):
        trainer(max_steps=9).fit(module, loader)


def test_a_changed_number_of_processes_starts_its_generators_afresh(
    trainer: MakeTrainer, toy: TensorSource, module: TrainModule, differences: Callable[[Any, Any], list[str]]
) -> None:
    fit = trainer(max_steps=1)
    fit.fit(module, DataLoader(TensorDataset(*arrays(toy)), 16))
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert differences(checkpoint["trainkit"]["processes"][0]["random"], get_random_state()) == []
    checkpoint["trainkit"]["processes"] *= 2
    torch.manual_seed(7)
    expected = get_random_state()
    module.on_load_checkpoint(checkpoint)
    module.on_load_checkpoint({})
    module.on_train_start()
    assert differences(get_random_state(), expected) == []


def test_callbacks_get_what_was_evaluated_without_its_padding(
    module: TrainModule, toy: TensorSource, trainer: MakeTrainer
) -> None:
    class Keeps(L.Callback):
        def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
            kept.append(args[2])

    kept: list[dict[str, Tensor]] = []
    rows = torch.arange(103, 143)
    trainer(callbacks=[Keeps()]).validate(module, EvaluationLoader(toy, rows, batch_size=16), verbose=False)
    assert [len(found["target"]) for found in kept] == [16, 16, 8]
    assert torch.equal(torch.cat([found["target"] for found in kept]), toy.target[rows])
    predictions = torch.cat([found["predictions"] for found in kept])
    assert predictions.dtype == torch.float64 and predictions.shape == (40, 3)
    assert torch.allclose(predictions.sum(dim=1), torch.ones(40, dtype=torch.float64))


class Members(nn.Module):
    """Three linear maps of their own."""

    num_members = 3

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 9)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs).reshape(len(inputs), 3, 3)
        return outputs


def test_a_bare_net_of_members_learns_and_is_judged_as_one(trainer: MakeTrainer, toy: TensorSource) -> None:
    inputs, target = arrays(toy)
    loader = DataLoader(TensorDataset(inputs, target), 16)
    module = TrainModule(Members(), Classification(3), sgd(lr=0.1))
    fit = trainer(max_epochs=2)
    before = log_loss(target.numpy(), module.model(inputs).detach().double().softmax(2).mean(1).numpy())
    fit.fit(module, loader)
    together = module.model(inputs).detach().double().softmax(dim=2).mean(dim=1).numpy()
    (logged,) = fit.validate(module, loader, verbose=False)
    assert logged["val/loss"] == pytest.approx(log_loss(target.numpy(), together), rel=1e-5)
    assert logged["val/loss"] < before
    assert logged["val/accuracy"] == pytest.approx(accuracy_score(target.numpy(), together.argmax(axis=1)))
    predicted = fit.predict(module, loader)
    assert predicted is not None
    torch.testing.assert_close(torch.cat(predicted).numpy(), together, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_several_batches_at_once_give_the_same_values(trainer: MakeTrainer, num_classes: int) -> None:
    inputs = torch.randn(103, 6, generator=torch.Generator().manual_seed(0))
    source, net = TensorSource(inputs, torch.arange(103) % num_classes), nn.Linear(6, num_classes)
    calls: list[int] = []
    net.register_forward_hook(lambda net, given, outputs: calls.append(len(outputs)))
    loader = EvaluationLoader(source, ROWS, batch_size=16)
    module = TrainModule(net, Classification(num_classes))
    single = trainer().validate(module, loader, verbose=False)
    predictions = torch.cat(trainer().predict(module, loader))  # type: ignore[arg-type]
    loader.at_once = 3
    assert trainer().validate(module, loader, verbose=False) == single
    assert torch.equal(torch.cat(trainer().predict(module, loader)), predictions)  # type: ignore[arg-type]
    assert calls == [16] * 28
