"""Times imitation's GAIL; runs inside the peer environment `imitation`, imports nothing of gail.

End to end: environment, policy and discriminator updates. The settings are those of imitation's own GAIL
tutorial (docs/tutorials/3_train_gail): a PPO learner (batches of 64, 5 epochs, 2048 steps per environment
and round), `BasicRewardNet` with `RunningNorm`, batches of 1024 demonstrations, 8 discriminator updates a
round. Two things differ: the network widths are the row's, and the variable-horizon refusal is lifted,
because CartPole-v1 and Hopper-v4 end early. imitation's per-update console tables are switched off, which
only makes it faster. The last line printed is one JSON object.
"""

# mypy: disable-error-code="import-not-found"
# (the peer is installed in its own environment only)
import argparse
import json
import platform
import tempfile
import time
from importlib.metadata import version

import numpy as np
import torch
from imitation.algorithms.adversarial.gail import GAIL
from imitation.data.types import TrajectoryWithRew
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util import logger
from imitation.util.networks import RunningNorm
from imitation.util.util import make_vec_env
from stable_baselines3 import PPO

WARMUP_STEPS_PER_ENV = 128  # one short, untimed round: first calls of torch and of the environment
PACKAGES = ("imitation", "stable-baselines3", "gymnasium", "mujoco", "torch", "numpy")


def load_demos(path: str, episodes: int) -> list[TrajectoryWithRew]:
    """The first `episodes` of a flat npz (`observations` holds T + 1 rows an episode, `actions` T)."""
    with np.load(path, allow_pickle=False) as file:
        obs, acts, rews, lengths = (file[k] for k in ("observations", "actions", "rewards", "lengths"))
    if not 0 < episodes <= len(lengths):
        raise SystemExit(f"{path}: --episodes {episodes}, but the file has {len(lengths)}")
    ends = np.cumsum(lengths)[: episodes - 1]
    obs_of = np.split(obs[: lengths[:episodes].sum() + episodes], ends + np.arange(1, episodes))
    acts_of, rews_of = (np.split(x[: lengths[:episodes].sum()], ends) for x in (acts, rews))
    # imitation calls every whole episode terminal, also one that a time limit ended.
    return [
        TrajectoryWithRew(obs=o, acts=a, infos=None, terminal=True, rews=r.astype(np.float64))
        for o, a, r in zip(obs_of, acts_of, rews_of, strict=True)
    ]


def build(args: argparse.Namespace, log_dir: str, n_steps: int = 2048) -> GAIL:
    """A fresh trainer in fresh environments; `n_steps` per environment and round (SB3's default)."""
    venv = make_vec_env(args.env, rng=np.random.default_rng(args.seed), n_envs=args.num_envs)
    learner = PPO(
        "MlpPolicy", venv, n_steps=n_steps, batch_size=64, ent_coef=0.0, learning_rate=0.0004, gamma=0.95,
        n_epochs=5, policy_kwargs={"net_arch": args.hidden}, seed=args.seed, device="cpu",
    )  # fmt: skip
    discriminator = BasicRewardNet(
        venv.observation_space, venv.action_space, hid_sizes=args.hidden, normalize_input_layer=RunningNorm
    )
    return GAIL(
        demonstrations=load_demos(args.demos, args.episodes), demo_batch_size=1024,
        gen_replay_buffer_capacity=512, n_disc_updates_per_round=8,
        venv=venv, gen_algo=learner, reward_net=discriminator,
        custom_logger=logger.configure(log_dir, format_strs=[]), allow_variable_horizon=True,
    )  # fmt: skip


def main() -> None:
    """Warms up on a throw-away trainer, times one `train` call and prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="CartPole-v1", help="Gymnasium id known to gymnasium 0.29.1")
    parser.add_argument("--demos", required=True, help="flat npz demonstration file")
    parser.add_argument("--episodes", type=int, default=4, help="demonstration episodes used")
    parser.add_argument("--steps", type=int, default=65_536, help="environment steps; rounded down to rounds")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64], help="of all three networks")
    parser.add_argument("--threads", type=int, default=1, help="of torch; 2 suits only an idle machine")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as log_dir:
        build(args, log_dir, WARMUP_STEPS_PER_ENV).train(args.num_envs * WARMUP_STEPS_PER_ENV)
        trainer = build(args, log_dir)
        start = time.perf_counter()
        trainer.train(max(args.steps, trainer.gen_train_timesteps))
        seconds = time.perf_counter() - start

    steps = trainer.gen_algo.num_timesteps
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    row = {"peer": f"imitation {version('imitation')}", "environment": args.env, "steps": steps,
           "seconds": round(seconds, 3), "steps_per_second": round(steps / seconds, 1),
           "threads": args.threads, "versions": versions}  # fmt: skip
    print(json.dumps(row))


if __name__ == "__main__":
    main()
