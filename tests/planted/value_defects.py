"""Mistakes of value-based code: DQN, Rainbow and their replay. Real ones, as in defects.py."""

from .defects import Defect

EQUATIONS = "tests/derivation/test_11_dqn.py"
REPLAY = (EQUATIONS, "tests/test_replay.py")
Q = (EQUATIONS, "tests/test_q.py")
DQN = ("tests/test_dqn.py", EQUATIONS)
RAINBOW = ("tests/test_rainbow.py", EQUATIONS)

VALUE_DEFECTS = (
    # The replay
    Defect(
        "truncation-stored-as-termination",
        "DQN: reward 1 for ever, γ = 0.98, a time limit of 8 steps: Q comes to 7.5, not to 50",
        "one `done` flag in the replay, set by time limits too",
        "scratchpg/replay.py",
        {"batch.states[1:], batch.terminated\n": "batch.states[1:], batch.ended\n"},
        tests=DQN,
    ),
    Defect(
        "reset-rows-in-the-replay",
        "some transitions lead from the end of an episode to the beginning of the next, with reward 0",
        "all rows are stored, also those in which an environment only resets itself",
        "scratchpg/replay.py",
        {"        new = np.arange": "        batch.valid[:] = True\n        new = np.arange"},
        tests=DQN,
    ),
    Defect(
        "discount-by-n-not-m",
        "n-step returns: states near a time limit are worth too little",
        "the value after a walk of m < n steps is discounted by γ^n",
        "scratchpg/replay.py",
        {"discounts *= np.where(goes_on, self.gamma, 1)": "discounts *= self.gamma"},
        tests=REPLAY,
    ),
    Defect(
        "gamma-to-the-first",
        "with n-step returns Q grows beyond 1/(1 - γ)",
        "every reward of the walk, and the value after it, is discounted once",
        "scratchpg/replay.py",
        {"            discounts *= np.where(goes_on, self.gamma, 1)\n": ""},
        tests=REPLAY,
    ),
    Defect(
        "walk-into-the-overwritten",
        "once the ring is full, some n-step returns are sums of rewards of two episodes",
        "a new row keeps the pointer of the row that it overwrites",
        "scratchpg/replay.py",
        {"(*self.columns, self.following), (*rows, following)": "self.columns, rows"},
        tests=REPLAY,
    ),
    Defect(
        "priority-1-for-new-rows",
        "prioritised replay: where errors are large, new transitions are hardly ever drawn",
        "a new transition gets the priority 1, not the largest",
        "scratchpg/replay.py",
        {"np.full(len(new), self.largest)": "np.ones(len(new))"},
        tests=REPLAY,
    ),
    Defect(
        "leaf-without-priority",
        "prioritised replay: once in a million draws, a row that was never stored",
        "a mass that rounding put at the very end finds the last leaf, whose priority is 0",
        "scratchpg/replay.py",
        {"np.minimum(mass, np.nextafter(ends[:, -1], 0))": "np.minimum(mass, ends[:, -1])"},
        tests=REPLAY,
    ),
    Defect(
        "weights-of-the-wrong-sign",
        "prioritised replay: rows that are drawn often count more, too",
        "the exponent of the importance weights is β, not -β",
        "scratchpg/replay.py",
        {"/ total) ** -self.beta": "/ total) ** self.beta"},
        tests=REPLAY,
    ),
    # The network
    Defect(
        "dueling-mean-over-the-batch",
        "a duelling network: Q of a state depends on the other states of the batch",
        "the mean of A is over all rows and actions, not over the actions of a row",
        "scratchpg/q.py",
        {"V + A - A.mean(axis=1, keepdims=True)": "V + A - A.mean()"},
        tests=Q,
    ),
    Defect(
        "dueling-backward-without-the-mean",
        "a duelling network learns, but its advantages drift together",
        "∂L/∂A_a is taken for ∂L/∂Q_a",
        "scratchpg/q.py",
        {"d - d.mean(axis=1, keepdims=True)]": "d]"},
        tests=Q,
    ),
    Defect(
        "noise-not-in-sigma",
        "noisy nets: the noise never fades, σ follows μ",
        "∂L/∂σ = g, without ε",
        "scratchpg/q.py",
        {"else g * noise])": "else g])"},
        tests=Q,
    ),
    # The chapters
    Defect(
        "target-is-the-same-object",
        "DQN: Q runs away on long episodes, and `target_update_interval` changes nothing",
        "the target network is the online one under a second name",
        "scratchpg/algorithms/dqn.py",
        {"exploration_final_eps), deepcopy(q)": "exploration_final_eps), q"},
        tests=DQN,
    ),
    Defect(
        "double-judged-by-the-chooser",
        "double DQN: Q is as much too high as without it",
        "the online network chooses, and judges its own choice",
        "scratchpg/algorithms/rainbow.py",
        {"    judge = target(batch.next_states, noises[1])\n": "    judge = q(batch.next_states, noises[1])\n"},
        tests=RAINBOW,
    ),
    Defect(
        "projection-loses-integers",
        "C51: the better a state is known, the less probability it has; with r = 1 the best one loses all",
        "the shares of floor(b) and ceil(b) are both 0 where b is an integer",
        "scratchpg/algorithms/rainbow.py",
        {
            "lower = np.minimum(x.astype(int), N - 2)": "lower, ceil = x.astype(int), np.ceil(x).astype(int)",
            "(probabilities - up).ravel()": "(probabilities * (ceil - x)).ravel()",
            "np.bincount(place + 1, ": "np.bincount(place + (ceil - lower).ravel(), ",
        },
        tests=RAINBOW,
    ),
    Defect(
        "weights-as-a-column",
        "prioritised replay: β makes no difference but to the length of the steps",
        "weights (B, 1) times losses (B,) is (B, B), and its mean weighs each row by the mean weight",
        "scratchpg/algorithms/rainbow.py",
        {"(weights / len(weights) * d.T).T": "weights.mean() / len(weights) * d"},
        tests=RAINBOW,
    ),
    Defect(
        "cross-entropy-as-priority",
        "prioritised C51: what is random by nature is drawn for ever, however well it is known",
        "the error is the cross entropy, which is not 0 at a fit, in place of KL(m ‖ p)",
        "scratchpg/algorithms/rainbow.py",
        {"cross_entropy + minus_entropy\n": "cross_entropy\n"},
        tests=RAINBOW,
    ),
    Defect(
        "noise-drawn-once",
        "noisy nets: it explores no more than a fixed policy, and learns for one noise only",
        "ε is drawn at the beginning of the run",
        "scratchpg/algorithms/rainbow.py",
        {
            "        gradient_norm = np.nan\n": "        gradient_norm, noise = np.nan, q.draw(sampler)\n",
            "policy.explore(done, q.draw(sampler))": "policy.explore(done, noise)",
            "                noise = q.draw(sampler)  # (11.14), new in each step; the target has its own\n": "",
        },
        tests=RAINBOW,
    ),
)
