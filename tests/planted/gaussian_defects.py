"""Mistakes of code for continuous actions: the part of the table (`defects.py`) for Gaussian policies."""

from .defects import Defect

DENSITY = ("tests/test_gaussian.py", "tests/derivation/test_8_continuous.py")
POLICY = ("tests/test_gaussian.py", "tests/test_continuous.py")
BOXES = ("tests/test_continuous.py", "tests/derivation/test_8_continuous.py")

GAUSSIAN_DEFECTS = (
    Defect(
        "mean-over-dimensions",
        "PPO with several action dimensions hardly ever clips, and moves far in one update",
        "log π is the mean over the dimensions of an action, (8.1) is their sum; its gradient is divided, too",
        "scratchpg/gaussian.py",
        {
            "math.log(2 * math.pi) / 2).sum(axis=1)": "math.log(2 * math.pi) / 2).mean(axis=1)",
            "[z / self.std, z * z - 1], axis=1)": "[z / self.std, z * z - 1], axis=1) / z.shape[1]",
        },
        tests=DENSITY,
    ),
    Defect(
        "half-a-log-sigma",
        "the entropy of a Gaussian falls half as fast as it should when σ narrows",
        "log σ is halved along with the constant of (8.3); its gradient agrees",
        "scratchpg/gaussian.py",
        {
            "+ math.log(2 * math.pi * math.e) / 2).sum": "/ 2 + math.log(2 * math.pi * math.e) / 2).sum",
            "np.ones_like(self.log_std)]": "np.ones_like(self.log_std) / 2]",
        },
        tests=DENSITY,
    ),
    Defect(
        "sigma-for-its-square",
        "actions spread too little where log σ is negative, and too much where it is positive",
        "σ² is taken for σ",
        "scratchpg/gaussian.py",
        {"return np.exp(self.log_std)": "return np.exp(2 * self.log_std)"},
        tests=DENSITY,
    ),
    Defect(
        "kl-by-its-own-sigma",
        "the KL divergence of two Gaussians of different widths is off, that of equal widths is right",
        "the distance of the means is divided by σ, (8.4) has the other's σ'",
        "scratchpg/gaussian.py",
        {
            "(self.mean - other.mean) / other.std": "(self.mean - other.mean) / self.std",
            "[m / other.std,": "[m / self.std,",
        },
        tests=DENSITY,
    ),
    Defect(
        "fisher-of-sigma",
        "the natural gradient moves log σ twice as fast as it should",
        "the Fisher matrix of log σ is 2, not 1",
        "scratchpg/gaussian.py",
        {"2 * v[:, d:]": "v[:, d:]"},
        tests=DENSITY,
    ),
    Defect(
        "log-sigma-averaged",
        "σ learns more slowly the larger the batch",
        "log σ's gradient is the mean over the rows, (8.6) is their sum",
        "scratchpg/policy.py",
        {"d[:, n:].sum(axis=0)": "d[:, n:].mean(axis=0)"},
        tests=DENSITY,
    ),
    Defect(
        "log-sigma-lost-in-a-copy",
        "a policy that was copied or came from a pickle trains its mean and never its σ",
        "the copy's net and log σ are arrays of their own, not views of its θ",
        "scratchpg/mlp.py",
        {"        self.theta = self.theta  # in a deep copy, or from a pickle, all parts are views of the new θ\n": ""},
        tests=POLICY,
    ),
    Defect(
        "clipped-action-stored",
        "with tight bounds the mean runs beyond them and σ does not settle",
        "what is stored is the action after the clip, whose score has not the mean 0 (8.8)",
        "scratchpg/rollout.py",
        {
            "        result = self.envs.step(actions)\n": (
                "        batch.actions[row] = self.envs._taken(actions).reshape(batch.actions[row].shape)\n"
                "        result = self.envs.step(actions)\n"
            )
        },
        tests=BOXES,
    ),
    Defect(
        "bounds-ignored",
        "some environments fail, and others play another game than everybody else's",
        "actions reach the environment unclipped",
        "scratchpg/plumbing/spaces.py",
        {"np.clip(actions.reshape(self.n, *low.shape), low, high)": "actions.reshape(self.n, *low.shape)"},
        tests=BOXES,
    ),
    Defect(
        "normalisation-half-folded",
        "a policy that was trained on normalised observations plays badly without the wrapper",
        "the scale is folded into W, the mean is not folded into b",
        "scratchpg/mlp.py",
        {"b - (m / s).dot(W)]": "b]"},
        tests=POLICY,
    ),
    Defect(
        "value-for-a-policy",
        "networks handed over in the wrong order train without a word, in vain",
        "the sizes of a GaussianPolicy of one dimension and of a Value agree, and nothing else is looked at",
        "scratchpg/plumbing/check.py",
        {"(kind is None) == acts": "False"},
        tests=POLICY,
    ),
)
