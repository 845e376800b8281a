"""Who plays: the policy contract, the actor-critics for vectors and for images, random play, and policy files."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, overload, runtime_checkable

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from gail.agents.heads import Head, make_head
from gail.core.checkpoint import load_tree, save_tree
from gail.core.errors import InputError
from gail.core.leaves import first_leaf
from gail.core.networks import Activation, Normalizer, hidden_layers, mlp
from gail.core.pixels import PixelConfig, PixelTrunk, TrunkName
from gail.core.precision import Precision
from gail.core.random import seeded_initialization
from gail.envs import EnvLike, may_be, resolve_env
from gail.envs.ids import require_registered
from gail.envs.leaves import SUPPORTED
from gail.envs.spaces import (
    Categorical,
    MaskedBox,
    SpaceEncoder,
    categories,
    is_image,
    legal_actions,
    space_from_json,
    space_to_json,
)
from gail.envs.vec import Step, VecEnv

if TYPE_CHECKING:
    from gail.agents.sb3_zip import SB3Options

RecurrentState = Any
"""What a recurrent policy carries from step to step; None for the others."""


@dataclass(frozen=True)
class PolicyOutput:
    """What acting returns, for N rows."""

    action: Tensor
    """``[N, ...]``: in the action space, as executed."""
    sample: Tensor
    """``[N, k]``: what was drawn; log-probabilities are of this."""
    log_prob: Tensor | None = None
    """``[N]``, or None where the policy computes it later in one batch (``evaluate``)."""
    value: Tensor | None = None
    """``[N]``, or None likewise."""
    state: RecurrentState = None
    """What to pass to the next call."""


class Policy(Protocol):
    """Anything that plays."""

    observation_space: gym.Space
    action_space: gym.Space

    def initial_state(self, n: int) -> RecurrentState:
        """The state at the start of ``n`` episodes."""

    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """Choose actions for observations ``[N, ...]``."""


@runtime_checkable
class SeesRewards(Protocol):
    """What a policy has beside :class:`Policy` whose next action depends on the rewards so far."""

    def see_rewards(self, state: RecurrentState, reward: Tensor) -> RecurrentState:
        """The state, after the rewards ``[N]`` of the actions that :meth:`Policy.act` returned it with.

        Called after every step, before rows whose episode ended are reset.
        """


def state_after(policy: Policy, output: PolicyOutput, step: Step) -> RecurrentState:
    """What to pass to the next :meth:`Policy.act`, once ``step`` has shown what came of ``output``."""
    return policy.see_rewards(output.state, step.reward) if isinstance(policy, SeesRewards) else output.state


class NetworkPolicy(nn.Module):
    """A policy that policy files can hold. Subclasses set ``kind``."""

    kind: ClassVar[str]
    """What policy files call it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in cls.__dict__:
            _KINDS[cls.kind] = cls

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        super().__init__()
        self.observation_space, self.action_space = observation_space, action_space

    def config(self) -> dict[str, Any]:
        """The keywords that build it again, as JSON values."""
        raise NotImplementedError

    def features(self, obs: Tensor) -> Tensor:
        """Observations ``[B, ...]`` as the network takes them; computed once per batch, outside the gradient step."""
        raise NotImplementedError

    def initial_state(self, n: int) -> RecurrentState:
        """No state: the policy sees one observation at a time."""
        return None

    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """Choose actions for ``obs`` ``[N, ...]``, sampled or the best ones."""
        raise NotImplementedError


_KINDS: dict[str, type[NetworkPolicy]] = {}
"""What a policy file may hold, by the name that stands in it."""


class ActorCritic(NetworkPolicy):
    """An actor and a critic on hidden features; what they see is up to the subclass.

    Subclasses set ``head``, ``trunk``, ``actor`` and ``critic``.
    """

    costly: ClassVar[bool] = False
    """Whether a pass through the network costs more than finding out which rows can be spared one."""
    head: Head
    trunk: nn.Module
    actor: nn.Sequential
    critic: nn.Sequential

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        super().__init__(observation_space, action_space)
        self.head = make_head(action_space)

    def update_normalizer(self, obs: Tensor, mask: Tensor | None = None) -> None:
        """Merge ``obs`` ``[B, ...]``, of which ``mask`` ``[B]`` (all, where None) count, into running statistics."""
        raise NotImplementedError

    def _hidden(self, features: Tensor) -> Tensor:
        return self.trunk(features)

    def _params(self, hidden: Tensor, features: Tensor) -> Tensor:
        return self.actor(hidden)

    def action_params(self, features: Tensor) -> Tensor:
        """Parameters ``[B, head.size]`` of the action distribution for the result of :meth:`features`."""
        return self._params(self._hidden(features), features)

    def values(self, features: Tensor) -> Tensor:
        """Critic outputs ``[B]`` for the result of :meth:`features`, in the critic's own scale."""
        return self.critic(self._hidden(features)).squeeze(-1)

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """Choose actions for ``obs`` ``[N, ...]``, sampled or the most probable ones."""
        params = self.action_params(self.features(obs))
        sample = self.head.mode(params) if deterministic else self.head.sample(params, generator)
        return PolicyOutput(self.head.to_action(sample), sample)

    def evaluate_features(self, features: Tensor, sample: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`evaluate`, on the result of :meth:`features`."""
        hidden = self._hidden(features)
        log_prob, entropy = self.head.log_prob_entropy(self._params(hidden, features), sample)
        return log_prob, entropy, self.critic(hidden).squeeze(-1)

    def evaluate(self, obs: Tensor, actions: Tensor, state: RecurrentState = None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability, entropy and value, each ``[B]``, of ``actions`` ``[B, ...]`` in ``obs`` ``[B, ...]``."""
        return self.evaluate_features(self.features(obs), self.head.from_action(actions))


class MLPPolicy(ActorCritic):
    """Actor and critic over normalized observations: separate networks, or two heads on one.

    Args:
        observation_space: any supported space, its parts concatenated; a MaskedBox keeps illegal actions at
            probability zero.
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        hidden: widths of the hidden layers (of each network, where they are separate).
        activation: between the layers.
        shared: whether actor and critic share their hidden layers. That halves the work of a gradient step; separate
            networks are the safer choice where values are hard to fit (Andrychowicz et al. 2021, section 3.2).
    """

    kind = "mlp"

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        *,
        hidden: tuple[int, ...] = (64, 64),
        activation: Activation = "tanh",
        shared: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.hidden, self.activation, self.shared = tuple(hidden), activation, shared
        self.encoder = SpaceEncoder(observation_space)
        self.normalizer = Normalizer(self.encoder.size)
        self.mask_size = observation_space.mask_size if isinstance(observation_space, MaskedBox) else 0
        self.trunk = hidden_layers(self.encoder.size, hidden, activation) if shared else nn.Identity()
        inputs, own = (hidden[-1], ()) if shared else (self.encoder.size, hidden)
        # The last layer starts near zero: a uniform policy, means at the centre of the bounds.
        self.actor = mlp(inputs, own, self.head.size, activation=activation, output_gain=0.01)
        self.critic = mlp(inputs, own, 1, activation=activation)

    def config(self) -> dict[str, Any]:
        """See :meth:`NetworkPolicy.config`."""
        return {"hidden": list(self.hidden), "activation": self.activation, "shared": self.shared}

    def features(self, obs: Tensor) -> Tensor:
        """Encoded and normalized observations ``[B, D]``; an action mask follows them as it is."""
        features = self.normalizer(self.encoder(obs))
        legal = legal_actions(self.observation_space, obs)
        return features if legal is None else torch.cat([features, legal.float()], dim=1)

    def _hidden(self, features: Tensor) -> Tensor:
        return self.trunk(features[:, : self.encoder.size] if self.mask_size else features)

    def _params(self, hidden: Tensor, features: Tensor) -> Tensor:
        params = self.actor(hidden)
        if self.mask_size:
            # Not -inf: the entropy would be 0 * -inf. exp(-1e8) is zero as well.
            params = params.masked_fill(features[:, -self.mask_size :] == 0, -1e8)
        return params

    def update_normalizer(self, obs: Tensor, mask: Tensor | None = None) -> None:
        """See :meth:`ActorCritic.update_normalizer`."""
        self.normalizer.update(self.encoder(obs), mask)


class PixelPolicy(ActorCritic):
    """Actor and critic as two heads on one convolutional trunk, for images.

    Args:
        observation_space: Box of bytes in three dimensions, channels first or last.
        action_space: Box, Discrete or MultiDiscrete.
        trunk: the convolutional network, see :class:`gail.core.pixels.PixelConfig`.
        precision: its arithmetic, likewise.

    Raises:
        InputError: where the images are too small for the trunk.
    """

    kind = "pixels"
    costly = True
    trunk: PixelTrunk

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        action_space: gym.Space,
        *,
        trunk: TrunkName = "nature",
        precision: Precision = "auto",
    ) -> None:
        super().__init__(observation_space, action_space)
        self.pixels = PixelConfig(trunk, precision)
        self.trunk = PixelTrunk(observation_space.shape, self.pixels)
        self.actor = mlp(self.trunk.size, (), self.head.size, output_gain=0.01)
        self.critic = mlp(self.trunk.size, (), 1)

    def config(self) -> dict[str, Any]:
        """See :meth:`NetworkPolicy.config`."""
        return asdict(self.pixels)

    def features(self, obs: Tensor) -> Tensor:
        """Images as bytes, laid out for the trunk: they become numbers in the minibatch, inside it."""
        return self.trunk.prepare(obs)

    def update_normalizer(self, obs: Tensor, mask: Tensor | None = None) -> None:
        """Nothing to update: bytes have a fixed scale."""


class RandomPolicy:
    """Uniform actions, legal ones where the observation says which are (Box without bounds: standard normal)."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        if not isinstance(action_space, spaces.Box | Categorical):
            raise InputError(f"action space {action_space} is not supported; supported are {SUPPORTED}")

    def initial_state(self, n: int) -> RecurrentState:
        """No state."""
        return None

    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """Draw actions; ``deterministic`` changes nothing."""
        rows = first_leaf(obs)
        space, n, device = self.action_space, rows.shape[0], rows.device
        legal = legal_actions(self.observation_space, obs)
        if legal is not None:
            assert isinstance(space, spaces.Discrete)
            race = torch.rand(legal.shape, device=device, generator=generator) + legal
            action = race.argmax(dim=1) + int(space.start)
            return PolicyOutput(action, action[:, None])
        if isinstance(space, spaces.Box):
            low = torch.from_numpy(np.asarray(space.low, np.float32)).to(device)
            high = torch.from_numpy(np.asarray(space.high, np.float32)).to(device)
            uniform = torch.rand((n, *space.shape), device=device, generator=generator)
            normal = torch.randn((n, *space.shape), device=device, generator=generator)
            bounded = torch.isfinite(low) & torch.isfinite(high)
            action = torch.where(bounded, low.nan_to_num(0, 0, 0) + uniform * (high - low).nan_to_num(0, 0, 0), normal)
        else:
            assert isinstance(space, Categorical)
            counts, start = (torch.tensor(numbers, device=device) for numbers in categories(space))
            uniform = torch.rand((n, len(counts)), device=device, generator=generator, dtype=torch.float64)
            action = ((uniform * counts).long() + start).reshape(n, *(space.shape or ()))
        return PolicyOutput(action, action.reshape(n, -1))


def new_policy(env: VecEnv, seed: int, *, pixels: PixelConfig | None = None, **options: Any) -> MLPPolicy | PixelPolicy:
    """A fresh policy for ``env``, on its device, initialized from ``seed`` alone.

    Args:
        env: images get a :class:`PixelPolicy`, everything else an :class:`MLPPolicy`.
        seed: of the initial weights.
        pixels: how a policy for images looks at them.
        **options: keywords of MLPPolicy; images do not need them.

    Raises:
        InputError: where the spaces are not supported.
    """
    space = env.observation_space
    policy: MLPPolicy | PixelPolicy
    with seeded_initialization(seed, "policy"):
        if is_image(space):
            policy = PixelPolicy(space, env.action_space, **asdict(pixels or PixelConfig()))
        else:
            policy = MLPPolicy(space, env.action_space, **options)
    return policy.to(env.device)


def save_policy(policy: NetworkPolicy, path: str | Path, *, env_id: str, env_kwargs: dict[str, Any]) -> None:
    """Write ``policy`` with what is needed to build it again, as safetensors."""
    save_tree(
        path,
        {
            "policy": policy.kind,
            "env_id": env_id,
            "env_kwargs": env_kwargs,
            "observation_space": space_to_json(policy.observation_space),
            "action_space": space_to_json(policy.action_space),
            "config": policy.config(),
            "module": dict(policy.state_dict()),
        },
    )


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy from a file, with the environment that it was trained in."""

    policy: NetworkPolicy
    env_id: str
    """Empty where the file does not say."""
    env_kwargs: dict[str, Any]

    path: Path | None = None
    """The file it was read from."""
    note: str = ""
    """What was assumed about a file that does not say everything."""

    @overload
    def environment(self, env_id: str | None, env_kwargs: dict[str, Any] | None) -> tuple[str, dict[str, Any]]: ...

    @overload
    def environment(
        self, env_id: EnvLike | None, env_kwargs: dict[str, Any] | None
    ) -> tuple[EnvLike, dict[str, Any]]: ...

    def environment(self, env_id: EnvLike | None, env_kwargs: dict[str, Any] | None) -> tuple[EnvLike, dict[str, Any]]:
        """What to play: ``env_id`` with ``env_kwargs``, each as in the training where it is None.

        Raises:
            InputError: where the file's own environment is none to look up in a registry.
        """
        if env_id is None:
            if not self.env_id:
                raise InputError(f"--env: {self.path} does not say what it plays, expected an environment's id")
            env_id = require_registered(self.env_id, self.path or "the policy")
        resolved, _ = resolve_env(env_id)
        if env_kwargs is None:
            known = may_be(resolved, self.env_id) and not isinstance(resolved, VecEnv)
            env_kwargs = self.env_kwargs if known else {}
        return resolve_env(resolved, env_kwargs)


def load_policy(path: str | Path, device: torch.device | str = "cpu", *, sb3: SB3Options | None = None) -> LoadedPolicy:
    """Read a policy from a ``policy.safetensors``, a run directory that holds one, or a zip of Stable-Baselines3.

    Args:
        path: the file or folder.
        device: where the policy runs.
        sb3: what a zip of Stable-Baselines3 does not say.

    Raises:
        InputError: where there is none, or the file is not one of these.
    """
    from gail.agents.sb3_zip import is_sb3_zip, load_sb3_zip

    path = Path(path)
    file = path / "policy.safetensors" if path.is_dir() else path
    seeds = sorted(folder.name for folder in path.glob("seed-*"))
    if not file.exists() and seeds:
        raise InputError(f"{path}: holds several seeds; choose one of {', '.join(seeds)}")
    if is_sb3_zip(file):
        foreign, note = load_sb3_zip(file, sb3)
        return LoadedPolicy(foreign.to(device), "", {}, file, note)
    tree = load_tree(file, device)
    try:
        kind = _KINDS.get(tree["policy"])
        if kind is None:
            raise InputError(f"{file}: policy kind {tree['policy']!r} is unknown; expected one of {', '.join(_KINDS)}")
        config = {k: v for k, v in tree["config"].items() if k in inspect.signature(kind).parameters}
        observed, acted = space_from_json(tree["observation_space"]), space_from_json(tree["action_space"])
        policy = kind(observed, acted, **config).to(device)
        policy.load_state_dict(tree["module"])
        for name, kind_of in (("env_id", str), ("env_kwargs", dict)):
            if not isinstance(tree[name], kind_of):
                raise ValueError(f"{name} is {str(tree[name])[:60]}, expected {kind_of.__name__}")
        return LoadedPolicy(policy, tree["env_id"], tree["env_kwargs"], file)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{file}: not a policy file of this toolkit ({error})") from error
