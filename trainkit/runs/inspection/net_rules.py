"""Rules on what the net did with one batch: one function each over ``Trial``, all in ``NET_RULES``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from trainkit.runs.check import EXPLODING
from trainkit.runs.inspection.finding import Finding, Rule, error, listed, warning
from trainkit.runs.inspection.trial import Trial

UNSCALED = 30.0
"""Mean or standard deviation of an input that is far from the 0 and 1 that initialisations are made for (LeCun et al.,
*Efficient BackProp*, 1998). Nets still learn well from pixels of 0 to 16; those of 0 to 255 are far above it."""

FLAT = 0.01
"""Standard deviation over all inputs below which they hardly tell samples apart: pixels divided by 255 twice."""

ENOUGH_STEPS = 20
"""Steps below which a net that has not learned proves nothing; the first ten are those of a rising learning rate."""

UNLEARNED = 0.9
"""Last loss over first, from which one batch was not learned; a linear model of noisy numbers comes to about a half."""

OWN_UNLEARNED = 0.98
"""The same for a ``LightningModule`` of the user's own, whose loss may have a floor that is not known."""

DIVERGED, SPIKE = 1.5, 10.0
"""Last and largest loss over the first (or chance, if that is more), from which learning made it worse."""

WILD = 1e3
"""Largest loss over the first, at least 1, of nets that learn against each other, whose losses rise and fall."""

HEAVY_DECAY = 1.0
"""Weight decay that is above any in common use (at most 0.3)."""

CONSTANT = 1e-5
"""Spread of the outputs over samples, relative to their size, below which they do not depend on the input."""

NO_GRADIENT = 1e-3
"""Norm of the whole gradient below which it is not the learning rate that is at fault."""

SUM_TO_ONE = 1e-3
"""Rounding of sums of probabilities, in bf16 too."""

DEAD = "dead units (a ReLU after a large negative bias), or an input that forward does not use"

CLIPPED_BY, CLIPPED_SHARE = 20.0, 0.9
"""Norm over the norm allowed, and the share of steps, from which clipping is what sets the step's size."""


def unscaled_inputs(trial: Trial) -> Iterator[Finding]:
    """Inputs far from mean 0 and deviation 1."""
    if _is_unscaled(trial):
        what = f"inputs reach the net with means up to {trial.input_mean:.3g}, deviations up to {trial.input_std:.3g}"
        hint = "scale them" if trial.is_own else "scale them: uint8 images and tables are scaled by trainkit"
        yield warning("unscaled_inputs", what, "data", hint)


def _is_unscaled(trial: Trial) -> bool:
    return max(trial.input_mean, trial.input_std) > UNSCALED


def flat_inputs(trial: Trial) -> Iterator[Finding]:
    """Inputs that are all but constant."""
    if trial.input_spread < FLAT:
        what = f"inputs reach the net with a deviation of {trial.input_spread:.2g} over all values"
        yield error("flat_inputs", what, "data", "look at what is read; scale to about mean 0 and deviation 1")


def exploding_loss(trial: Trial) -> Iterator[Finding]:
    """A first loss far above chance; unscaled inputs are a reason of their own."""
    if _explodes(trial) and not _is_unscaled(trial):
        chance = "" if trial.chance is None else f", chance is {trial.chance:.3g}"
        what = f"the first loss is {trial.first_loss:.3g}{chance}"
        yield warning("exploding_loss", what, "model", "smaller initial weights in the last layer, or scaled inputs")


def _explodes(trial: Trial) -> bool:
    if not math.isfinite(trial.first_loss):
        return True
    return trial.chance is not None and trial.first_loss > EXPLODING * trial.chance


def bad_gradients(trial: Trial) -> Iterator[Finding]:
    """Gradients that are NaN or infinite at the first step."""
    if trial.bad_gradients:
        what = f"the first gradient of {listed(trial.bad_gradients)} is not finite"
        yield error("bad_gradients", what, "model", "look for sqrt(0), log(0) and divisions in the forward pass")


def diverges(trial: Trial) -> Iterator[Finding]:
    """A loss that rises on the one batch it is to be learned from."""
    if trial.bad_gradients or not math.isfinite(trial.first_loss):
        return
    if _diverges(trial):
        losses = f"{trial.first_loss:.3g} → {trial.highest_loss:.3g} → {trial.last_loss:.3g}"
        what = f"learning one batch makes it worse: loss {losses} in {trial.num_steps} steps at {trial.peak:.2g}"
        where, hint = "optimizer.lr", f"optimizer.lr={trial.peak / 10:.2g}"
        if trial.is_own:
            where, hint = "module", f"a smaller learning rate, such as {trial.peak / 10:.2g}, or gradient clipping"
        yield error("diverges", what, where, hint)


def _diverges(trial: Trial) -> bool:
    if not trial.is_steady:
        return not math.isfinite(trial.last_loss) or trial.highest_loss > WILD * max(abs(trial.first_loss), 1.0)
    start = max(trial.first_loss, trial.chance or 0.0)
    spiked = trial.highest_loss > SPIKE * start
    return not math.isfinite(trial.last_loss) or trial.last_loss > DIVERGED * start or spiked


def unlearned_batch(trial: Trial) -> Iterator[Finding]:
    """One batch that is not learned by heart."""
    if _is_unlearned(trial) and not _is_explained(trial):
        losses = f"{trial.first_loss:.3g} → {trial.last_loss:.3g}"
        what = f"one batch is not learned: loss {losses} in {trial.num_steps} steps at {trial.peak:.2g}"
        yield error("unlearned_batch", what, "module" if trial.is_own else "model, optimizer", _advice(trial))


def _is_unlearned(trial: Trial) -> bool:
    least = OWN_UNLEARNED if trial.is_own else UNLEARNED
    return trial.is_steady and trial.num_steps >= ENOUGH_STEPS and trial.last_loss > least * trial.first_loss


def _advice(trial: Trial) -> str:
    if trial.peak == 0:
        return "a learning rate above 0"
    if trial.weight_decay >= HEAVY_DECAY:
        return f"a smaller weight_decay: {trial.weight_decay:g} pulls the weights to 0"
    has_gradients = float(np.median(trial.norms)) > NO_GRADIENT
    rate = "a larger learning rate" if trial.is_own else "a larger optimizer.lr"
    return rate if has_gradients else "gradients are next to 0: dead units, or saturated ones"


def _is_explained(trial: Trial) -> bool:
    """Whether another rule says why nothing is learned."""
    is_odd = _is_squashed(trial) or _is_constant(trial) or trial.input_spread < FLAT
    has_no_rate = trial.peak == 0 and not trial.is_own
    return bool(trial.bad_gradients) or _diverges(trial) or is_odd or has_no_rate


def detached(trial: Trial) -> Iterator[Finding]:
    """Parameters that training never moves."""
    if trial.never_moved and not trial.bad_gradients and not _is_constant(trial):
        what = f"never gets a gradient: {listed(trial.never_moved)}"
        hint = "use it, or requires_grad_(False) if it is meant to stay; look for detach(), argmax, no_grad, .data"
        yield error("detached", what, "model", hint)


def constant_outputs(trial: Trial) -> Iterator[Finding]:
    """Outputs that are the same for every sample, before and after learning."""
    if _is_constant(trial) and not trial.bad_gradients and not trial.input_spread < FLAT:
        yield error("constant_outputs", "the outputs do not depend on the input", "model", DEAD)


def _is_constant(trial: Trial) -> bool:
    sizes = [max(abs(low), abs(high)) for low, high in zip(trial.lowest, trial.highest, strict=True)]
    is_flat = all(s <= CONSTANT * max(size, 1e-3) for s, size in zip(trial.spread, sizes, strict=True))
    return is_flat and trial.num_samples > 1 and trial.num_steps >= ENOUGH_STEPS and not _diverges(trial)


def _is_squashed(trial: Trial) -> bool:
    is_bounded = min(trial.lowest) >= 0 and max(trial.highest) <= 1 + SUM_TO_ONE
    return trial.is_class and is_bounded and trial.num_steps >= ENOUGH_STEPS and not _is_constant(trial)


def squashed_outputs(trial: Trial) -> Iterator[Finding]:
    """Outputs that are probabilities already, of which the loss takes the softmax once more."""
    if not _is_squashed(trial):
        return
    sums_to_one = trial.row_sums and max(abs(total - 1) for total in trial.row_sums) < SUM_TO_ONE
    kind = "a softmax" if sums_to_one else "a sigmoid"
    what = f"the outputs lie in [0, 1] before and after learning, as of {kind}; the loss wants logits"
    yield error("squashed_outputs", what, "model", f"leave {kind} out of the net's last layer")


def heavy_clipping(trial: Trial) -> Iterator[Finding]:
    """Clipping that sets the size of nearly every step."""
    if trial.clip_norm is None or trial.num_steps < ENOUGH_STEPS or not np.isfinite(trial.norms).all():
        return
    if _is_unscaled(trial) or _explodes(trial) or _diverges(trial) or _is_unlearned(trial):
        return  # large gradients are a consequence then
    share = float((trial.norms > CLIPPED_BY * trial.clip_norm).mean())
    if share >= CLIPPED_SHARE:
        typical = float(np.median(trial.norms))
        what = f"gradients of norm {typical:.3g} are clipped to {trial.clip_norm:g} in {100 * share:.0f} % of the steps"
        yield warning("heavy_clipping", what, "trainer.clip_norm", f"trainer.clip_norm={typical:.3g}")


def failing_step(trial: Trial) -> Iterator[Finding]:
    """A training step of the user's own that goes well once and then fails."""
    if trial.failure and not _diverges(trial):
        what = f"a step fails while one batch is learned: {trial.failure}"
        hint = f"a smaller learning rate than {trial.peak:.2g}, or look at what changes from one step to the next"
        yield error("failing_step", what, "module", hint)


def strong_dropout(trial: Trial) -> Iterator[Finding]:
    """Dropout that leaves next to nothing."""
    if trial.strong_dropouts:
        what = f"dropout leaves out nearly all: {listed(trial.strong_dropouts)}"
        yield warning("strong_dropout", what, "model", "0.1 to 0.5 is common; it is the share that is left out")


def still_norm(trial: Trial) -> Iterator[Finding]:
    """BatchNorm whose running statistics stay at 0 and 1, while training uses those of the batch."""
    if trial.still_norms:
        what = f"a momentum of 0, so that the running statistics never move: {listed(trial.still_norms)}"
        yield error("still_norm", what, "model", "momentum=0.1; in PyTorch it is the share of the new batch")


def noisy_evaluation(trial: Trial) -> Iterator[Finding]:
    """Outputs that differ from one forward pass to the next in eval mode."""
    if trial.eval_noise:
        what = f"two forward passes of one batch differ in eval mode, by {100 * trial.eval_noise:.2g} % of the outputs"
        hint = "functional.dropout(x, p, training=self.training), and no other noise unless self.training"
        yield error("noisy_evaluation", what, "model", hint)


def batch_dependence(trial: Trial) -> Iterator[Finding]:
    """Outputs of a sample that depend on the samples beside it."""
    if trial.eval_dependence:
        by = f"by {100 * trial.eval_dependence:.2g} % of the outputs"
        what = f"outputs change in eval mode when half of the batch is missing, {by}"
        if math.isinf(trial.eval_dependence):
            what = "the net does not take half a batch, as the last one of an epoch is"
        hint = "look for softmax, mean or norm over dim 0, a swapped batch_first, track_running_stats=False"
        yield error("batch_dependence", what, "model", hint)


NET_RULES: tuple[Rule[Trial], ...] = (
    unscaled_inputs,
    flat_inputs,
    exploding_loss,
    bad_gradients,
    diverges,
    unlearned_batch,
    detached,
    constant_outputs,
    squashed_outputs,
    heavy_clipping,
    failing_step,
    strong_dropout,
    still_norm,
    noisy_evaluation,
    batch_dependence,
)
"""Every rule on the net, in the order in which findings are printed."""
