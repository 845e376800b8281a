"""Policies that Stable-Baselines3 trained, rebuilt from their weights alone; they play, they are not trained here.

=========  =====================================  ==================  ===========================================
algorithm  recognized by the weights              hidden layers       deterministic action
=========  =====================================  ==================  ===========================================
ppo        ``action_net`` (PPO, A2C, TRPO)        tanh by default     most probable, or the mean, clipped
dqn        ``q_net.q_net``                        relu by default     highest value
sac        ``actor.latent_pi`` (SAC, TQC)         relu by default     tanh of the mean, scaled to the bounds
td3        ``actor.mu`` alone (TD3, DDPG)         relu by default     tanh of the output, scaled to the bounds
=========  =====================================  ==================  ===========================================
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from gail.agents.heads import CategoricalHead
from gail.agents.policy import NetworkPolicy, PolicyOutput, RecurrentState
from gail.core.errors import InputError
from gail.envs.leaves import SUPPORTED
from gail.envs.spaces import SpaceEncoder, is_image

Algorithm = Literal["ppo", "dqn", "sac", "td3"]
Noise = Literal["none", "constant", "layer", "state"]
Activation = Literal["tanh", "relu", "elu", "leaky_relu", "silu", "gelu"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
"""With PyTorch's defaults, as Stable-Baselines3 makes them."""
DEFAULT_ACTIVATION: dict[Algorithm, Activation] = {"ppo": "tanh", "dqn": "relu", "sac": "relu", "td3": "relu"}
"""What Stable-Baselines3 puts between the layers where its user says nothing."""

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class SB3Network:
    """What a policy's network looks like; JSON values only."""

    algorithm: Algorithm
    """The family; it decides what the output means."""
    hidden: tuple[int, ...]
    """Widths of the hidden layers."""
    activation: Activation
    """Between the layers."""
    nature: int | None = None
    """Width of the Nature network's features, where there are images."""
    channels_first: bool = True
    """Whether images come as ``[C, H, W]``; the network wants them so."""
    squash: bool = False
    """Whether the output passes a tanh and is scaled to the bounds."""
    clip_mean: float | None = None
    """Where the means of a state-dependent exploration are clipped."""
    noise: Noise = "none"
    """How a Gaussian's scale is given: one per action, a layer of its own, or state-dependent (gSDE)."""
    epsilon: float = 0.0
    """Share of uniform actions where actions are sampled (dqn)."""
    clip_obs: float | None = None
    """Where normalized observations are clipped; None: observations are not normalized."""


class SB3Policy(NetworkPolicy):
    """A policy of Stable-Baselines3.

    Args:
        observation_space: Box, Discrete or MultiDiscrete.
        action_space: Box, Discrete or MultiDiscrete.
        network: the layout, or its fields as JSON values.
    """

    kind = "sb3"

    def __init__(
        self, observation_space: gym.Space, action_space: gym.Space, *, network: SB3Network | Mapping[str, Any]
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(network, SB3Network):
            network = SB3Network(**{**network, "hidden": tuple(network["hidden"])})
        layout = self.network = network
        self.images: nn.Sequential | None = None
        if layout.nature is not None:
            shape = cast(tuple[int, ...], observation_space.shape)
            self.images = _nature(shape if layout.channels_first else (shape[2], *shape[:2]), layout.nature)
            inputs = layout.nature
        else:
            self.encoder = SpaceEncoder(observation_space)
            inputs = self.encoder.size
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((inputs, *layout.hidden)):
            layers += [nn.Linear(before, after), ACTIVATIONS[layout.activation]()]
        self.hidden_layers = nn.Sequential(*layers)
        self.head = None if isinstance(action_space, spaces.Box) else CategoricalHead(cast(Any, action_space))
        outputs = self.head.size if self.head is not None else int(np.prod(cast(Any, action_space.shape)))
        width = (inputs, *layout.hidden)[-1]
        self.output = nn.Linear(width, outputs)
        self.log_std = nn.Parameter(torch.zeros(outputs)) if layout.noise == "constant" else None
        self.log_std_layer = nn.Linear(width, outputs) if layout.noise == "layer" else None
        self.low: Tensor
        self.high: Tensor
        if isinstance(action_space, spaces.Box):
            self.register_buffer("low", torch.from_numpy(np.asarray(action_space.low, np.float32)), persistent=False)
            self.register_buffer("high", torch.from_numpy(np.asarray(action_space.high, np.float32)), persistent=False)
        self.obs_mean: Tensor
        self.obs_scale: Tensor
        if layout.clip_obs is not None:
            # In float64, as VecNormalize computes.
            shape = cast(tuple[int, ...], observation_space.shape)
            self.register_buffer("obs_mean", torch.zeros(shape, dtype=torch.float64))
            self.register_buffer("obs_scale", torch.ones(shape, dtype=torch.float64))

    def config(self) -> dict[str, Any]:
        """The keywords that build it again, as JSON values."""
        return {"network": asdict(self.network)}

    def _latent(self, obs: Tensor) -> Tensor:
        if self.network.clip_obs is not None:
            normalized = (obs.double() - self.obs_mean) / self.obs_scale
            obs = normalized.clamp(-self.network.clip_obs, self.network.clip_obs).float()
        if self.images is None:
            return self.hidden_layers(self.encoder(obs))
        obs = obs if self.network.channels_first else obs.permute(0, 3, 1, 2)
        return self.hidden_layers(self.images(obs.float() / 255.0))

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """Choose actions for ``obs`` ``[N, ...]``, sampled or the most probable ones.

        Raises:
            InputError: where actions are to be sampled from a state-dependent exploration (gSDE).
        """
        latent = self._latent(obs)
        output = self.output(latent)
        if self.head is not None:
            sample = self._choose(output, deterministic, generator)
            return PolicyOutput(self.head.to_action(sample), sample)
        if self.network.clip_mean is not None:
            output = output.clamp(-self.network.clip_mean, self.network.clip_mean)
        if not deterministic:
            output = output + self._noise(latent, output, generator)
        action = (output.tanh() if self.network.squash else output).reshape(-1, *self.low.shape)
        if self.network.squash:
            action = self.low + (0.5 * (action + 1.0)) * (self.high - self.low)
        else:
            action = action.clamp(self.low, self.high)
        return PolicyOutput(action, action.flatten(1))

    def _choose(self, output: Tensor, deterministic: bool, generator: torch.Generator | None) -> Tensor:
        assert self.head is not None
        if deterministic:
            return self.head.mode(output)
        if self.network.algorithm != "dqn":
            return self.head.sample(output, generator)
        uniform = self.head.sample(torch.zeros_like(output), generator)
        draw = torch.rand((output.shape[0], 1), device=output.device, generator=generator)
        return torch.where(draw < self.network.epsilon, uniform, self.head.mode(output))

    def _noise(self, latent: Tensor, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.network.noise == "state":
            raise InputError(
                "this policy explores by gSDE, whose noise is no part of its weights; expected deterministic actions"
            )
        if self.network.noise == "none":
            return torch.zeros_like(mean)
        log_std = self.log_std if self.log_std_layer is None else self.log_std_layer(latent).clamp(-20.0, 2.0)
        assert log_std is not None
        return torch.empty_like(mean).normal_(generator=generator) * log_std.exp()


def _nature(shape: tuple[int, ...], features: int) -> nn.Sequential:
    """The convolutions of Mnih et al. 2015 as Stable-Baselines3 arranges them, for images ``[C, H, W]``."""
    convolutions = nn.Sequential(
        nn.Conv2d(shape[0], 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU()
    )
    with torch.no_grad():
        size = convolutions(torch.zeros(1, *shape)).numel()
    return nn.Sequential(convolutions, nn.Flatten(), nn.Linear(size, features), nn.ReLU())


@dataclass(frozen=True)
class Hints:
    """What weights do not tell."""

    activation: Activation | None = None
    """Between the layers; None: the algorithm's default."""
    squash: bool = False
    """Whether an on-policy Gaussian is squashed."""
    clip_mean: float = 2.0
    """Where SAC clips the means of a state-dependent exploration."""
    epsilon: float = 0.0
    """DQN's exploration rate."""
    channels_first: bool = True
    """Whether images come as ``[C, H, W]``."""


def rebuild(
    where: str, weights: Weights, observation_space: gym.Space, action_space: gym.Space, hints: Hints
) -> SB3Policy:
    """A policy from the ``state_dict`` of a Stable-Baselines3 policy.

    Args:
        where: the file, for messages.
        weights: ``state_dict`` of the policy.
        observation_space: what it observes.
        action_space: what it does.
        hints: what weights do not tell.

    Raises:
        InputError: where the weights are no policy that this module knows, or do not fit the spaces.
    """
    for name, space in (("observation_space", observation_space), ("action_space", action_space)):
        if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete):
            raise InputError(f"{where}: {name} is {space}; supported are {SUPPORTED}")
    algorithm, layers, output, features = _recognize(where, weights)
    network = SB3Network(
        algorithm=algorithm,
        hidden=tuple(len(weights[f"{name}.bias"]) for name in layers),
        activation=hints.activation or DEFAULT_ACTIVATION[algorithm],
        nature=_nature_features(where, weights, features, observation_space),
        channels_first=hints.channels_first,
        squash=algorithm in ("sac", "td3") or hints.squash,
        clip_mean=hints.clip_mean if output == "actor.mu.0" and algorithm == "sac" else None,
        noise=_noise_kind(weights, algorithm, action_space),
        epsilon=hints.epsilon if algorithm == "dqn" else 0.0,
    )
    try:
        policy = SB3Policy(observation_space, action_space, network=network)
    except RuntimeError as error:  # a convolution larger than its image
        raise InputError(f"{where}: its convolutions do not fit {observation_space} ({error})") from error
    ours = [f"hidden_layers.{2 * index}" for index in range(len(layers))]
    pairs = [*zip(layers, ours, strict=True), (output, "output")]
    if features is not None and policy.images is not None:
        pairs += [(f"{features}.cnn.{2 * index}", f"images.0.{2 * index}") for index in range(3)]
        pairs.append((f"{features}.linear.0", "images.2"))
    if network.noise == "layer":
        pairs.append(("actor.log_std", "log_std_layer"))
    names = {f"{mine}.{part}": f"{theirs}.{part}" for theirs, mine in pairs for part in _PARTS}
    if network.noise == "constant":
        names["log_std"] = "log_std"
    _load(where, policy, weights, names)
    return policy.eval()


_PARTS = ("weight", "bias")


def _load(where: str, policy: SB3Policy, weights: Weights, names: Mapping[str, str]) -> None:
    """Copy weights into the parameters that ``names`` says, with one clear error for the first that does not fit."""
    parameters = dict(policy.named_parameters())
    with torch.no_grad():
        for mine, theirs in names.items():
            expected, value = parameters[mine], weights.get(theirs)
            if value is None:
                raise InputError(f"{where}: policy.pth lacks {theirs}, expected {list(expected.shape)}")
            if value.shape != expected.shape:
                raise InputError(
                    f"{where}: policy.pth: {theirs} has shape {list(value.shape)}, expected {list(expected.shape)} "
                    f"for {policy.observation_space} and {policy.action_space}"
                )
            if not bool(torch.isfinite(value).all()):
                raise InputError(f"{where}: policy.pth: {theirs} holds NaN or infinity, expected finite numbers")
            expected.copy_(value)


def _recognize(where: str, weights: Weights) -> tuple[Algorithm, list[str], str, str | None]:
    """The algorithm, the names of its hidden layers and of the output layer, and of its feature extractor."""
    if any("lstm" in name for name in weights):
        raise InputError(f"{where}: a recurrent policy (sb3-contrib), expected one without memory")
    if any(re.search(r"features_extractor\.extractors\.", name) for name in weights):
        raise InputError(f"{where}: a policy for Dict observations, expected Box, Discrete or MultiDiscrete")
    if "action_net.weight" in weights:
        shared = _linear_layers(where, weights, "mlp_extractor.shared_net")  # versions before 1.7
        layers = shared + _linear_layers(where, weights, "mlp_extractor.policy_net")
        return "ppo", layers, "action_net", _extractor(weights, ("pi_features_extractor", "features_extractor"))
    if any(name.startswith("q_net.q_net.") for name in weights):
        layers = _linear_layers(where, weights, "q_net.q_net")
        return "dqn", layers[:-1], layers[-1], _extractor(weights, ("q_net.features_extractor",))
    images = _extractor(weights, ("actor.features_extractor",))
    if any(name.startswith("actor.latent_pi.") or name.startswith("actor.log_std") for name in weights):
        output = "actor.mu" if "actor.mu.weight" in weights else "actor.mu.0"
        return "sac", _linear_layers(where, weights, "actor.latent_pi"), output, images
    if any(name.startswith("actor.mu.") for name in weights):
        layers = _linear_layers(where, weights, "actor.mu")
        return "td3", layers[:-1], layers[-1], images
    raise InputError(
        f"{where}: policy.pth holds {', '.join(list(weights)[:3]) or 'nothing'}..., expected the weights of PPO, A2C, "
        "DQN, SAC, TD3 or DDPG (action_net, q_net.q_net or actor.mu)"
    )


def _extractor(weights: Weights, prefixes: Sequence[str]) -> str | None:
    return next((prefix for prefix in prefixes if any(name.startswith(f"{prefix}.") for name in weights)), None)


def _linear_layers(where: str, weights: Weights, prefix: str) -> list[str]:
    """Names of the layers of a plain network: ``prefix.0``, ``prefix.2``, ... with an activation between them."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.(\w+)")
    matches = [match for name in weights if (match := pattern.fullmatch(name))]
    numbers = sorted({int(match[1]) for match in matches})
    plain = all(
        weights[f"{prefix}.{n}.{part}"].ndim == dims if f"{prefix}.{n}.{part}" in weights else False
        for n, (part, dims) in itertools.product(numbers, zip(_PARTS, (2, 1), strict=True))
    )
    if not plain or numbers != list(range(0, 2 * len(numbers), 2)):
        raise InputError(f"{where}: {prefix} has layers {numbers}, expected linear layers 0, 2, ... with biases only")
    return [f"{prefix}.{n}" for n in numbers]


def _nature_features(where: str, weights: Weights, features: str | None, space: gym.Space) -> int | None:
    """The width of the features of a Nature network, or None where observations are flattened."""
    last = f"{features}.linear.0.bias"
    if features is None:
        if is_image(space):
            raise InputError(f"{where}: observes images without a convolutional network, expected CnnPolicy")
        return None
    if last not in weights or f"{features}.cnn.0.weight" not in weights:
        raise InputError(f"{where}: {features} is a network of the user's own, expected the Nature network or none")
    return len(weights[last])


def _noise_kind(
    weights: Weights, algorithm: Algorithm, space: gym.Space
) -> Literal["none", "constant", "layer", "state"]:
    if not isinstance(space, spaces.Box) or algorithm == "td3":
        return "none"
    if algorithm == "sac":
        return "layer" if "actor.log_std.weight" in weights else "state"
    log_std = weights.get("log_std")
    return "constant" if log_std is not None and log_std.ndim == 1 else "state"


def activation_named(where: str, name: str) -> Activation:
    """The activation that Stable-Baselines3 or a user names: ``ReLU``, ``<class 'torch...Tanh'>``, ``silu``.

    Raises:
        InputError: where this toolkit has no such activation.
    """
    plain = name.rstrip("'>").rpartition(".")[2].lower().replace("_", "")
    for known in get_args(Activation):
        if known.replace("_", "") == plain:
            return cast(Activation, known)
    raise InputError(f"{where}: the activation is {name}, expected one of {', '.join(get_args(Activation))}")
