"""Mistakes of trust regions and of groups: the part of the table (`defects.py`) for TRPO and GRPO."""

from .defects import Defect

TRPO = ("tests/test_trpo.py", "tests/derivation/test_9_trpo.py")
GRPO = ("tests/test_grpo.py", "tests/derivation/test_10_grpo.py")

TRUST_DEFECTS = (
    # TRPO
    Defect(
        "only-the-surrogate",
        "TRPO: kl exceeds its bound now and then",
        "the line search takes the first step by which the surrogate falls, (9.7) asks for D ≤ δ, too",
        "scratchpg/algorithms/trpo.py",
        {" and mean(old.kl(policy(rows[0]))) <= delta": ""},
        tests=TRPO,
    ),
    Defect(
        "only-the-kl",
        "TRPO: the policy keeps steps that make it worse on its own batch",
        "the line search takes the first step within the bound, (9.7) asks for a surrogate that falls, too",
        "scratchpg/algorithms/trpo.py",
        {"loss(policy, *rows) < before and ": ""},
        tests=TRPO,
    ),
    Defect(
        "kl-the-other-way-round",
        "TRPO: kl is at most δ as it reports it, and not as one measures it",
        "the bound is on KL(π_θ' ‖ π_θ), in (9.3) the old policy comes first",
        "scratchpg/algorithms/trpo.py",
        {"mean(old.kl(policy(rows[0]))) <= delta": "mean(policy(rows[0]).kl(old)) <= delta"},
        tests=TRPO,
    ),
    Defect(
        "theta-not-restored",
        "TRPO: the policy moves a little in updates whose search failed",
        "after the last try θ is left where that try put it",
        "scratchpg/optim.py",
        {"        theta[:] = kept\n": "        pass\n"},
        tests=TRPO,
    ),
    Defect(
        "length-with-damping",
        "TRPO: the larger the damping, the shorter the steps: kl stays far below δ",
        "the length takes xᵀ(F + λI)x, (9.6) has xᵀFx",
        "scratchpg/algorithms/trpo.py",
        {
            "xFx = g.dot(x) - damping * x.dot(x)": "xFx = g.dot(x)",
        },
        tests=TRPO,
    ),
    Defect(
        "fisher-as-a-sum",
        "TRPO: the larger the batch, the shorter the steps, and damping does nothing",
        "F is summed over the rows, (9.4) is a mean",
        "scratchpg/algorithms/trpo.py",
        {"pi.fisher(policy.jvp(pi, v)) / len(pi.parameters))": "pi.fisher(policy.jvp(pi, v)))"},
        tests=TRPO,
    ),
    Defect(
        "absolute-tolerance-of-cg",
        "TRPO: it stops learning once gradients are small, though kl stays at δ",
        "conjugate gradients stop at |r|² ≤ 1e-10, which a small gradient has at the start",
        "scratchpg/optim.py",
        {"    enough = tolerance * rr\n": "    enough = tolerance\n"},
        tests=TRPO,
    ),
    Defect(
        "curvature-unasked",
        "TRPO: NaN where the policy does not depend on θ any more",
        "conjugate gradients go on where pᵀAp is 0, and divide by it",
        "scratchpg/optim.py",
        {"        if pAp <= 0:\n            break\n": ""},
        tests=TRPO,
    ),
    Defect(
        "normalised-and-unused",
        "TRPO: normalize_advantage makes no difference",
        "the advantages that go into the surrogate are those before they were normalised",
        "scratchpg/algorithms/trpo.py",
        {
            "old.log_prob(actions), A\n": "old.log_prob(actions), advantages\n",
        },
        tests=TRPO,
    ),
    Defect(
        "means-in-float32",
        "TRPO: near the optimum the line search fails, or accepts, by chance",
        "the surrogate and D are averaged in the precision of the network",
        "scratchpg/algorithms/trpo.py",
        {"x.mean(dtype=np.result_type(x, np.float64))": "x.mean()"},
        tests=TRPO,
    ),
    # GRPO
    Defect(
        "one-group-of-all",
        "GRPO: starts that are hard get negative advantages, whatever one does in them",
        "the mean and the deviation are those of the batch instead of the group",
        "scratchpg/returns.py",
        {"R = R.reshape(*R.shape[:-1], -1, group_size)": "R = R.reshape(*R.shape[:-1], 1, -1)"},
        tests=GRPO,
    ),
    Defect(
        "zero-by-zero",
        "GRPO: NaN, or steps of noise, once a group is solved",
        "a group of equal returns is divided by its deviation of 0",
        "scratchpg/returns.py",
        {"A /= np.where(std > 0, std, 1)": "A /= std"},
        tests=GRPO,
    ),
    Defect(
        "residue-as-deviation",
        "GRPO: equal rewards of 0.35 give large advantages, rewards of 0.5 give none",
        "what rounding leaves of equal returns is taken for a difference",
        "scratchpg/returns.py",
        {"    R = R - R[..., :1]  # changes nothing but the rounding: equal returns are now exactly 0\n": ""},
        tests=GRPO,
    ),
    Defect(
        "left-out-twice",
        "GRPO: a learning rate that fits one group size is too large for another",
        "leave-one-out divides by G - 1 without the factor G",
        "scratchpg/returns.py",
        {"A *= group_size / (group_size - 1)": "A *= 1 / (group_size - 1)"},
        tests=GRPO,
    ),
    Defect(
        "gradient-of-k3",
        "GRPO: with a large kl_coef the policy covers all of the reference, also what pays nothing",
        "the gradient is that of KL(π_ref ‖ π_θ), which the sample k3 has in expectation",
        "scratchpg/algorithms/grpo.py",
        {"pi.d_kl(reference(states))": "(pi.probabilities - reference(states).probabilities)"},
        tests=GRPO,
    ),
    Defect(
        "kl-unweighted",
        "GRPO: divide_by_length changes the advantages' weight against the KL's",
        "w_i of (10.5) stands before the advantage only",
        "scratchpg/algorithms/grpo.py",
        {
            "kl_coef * weights[:, None] * pi.d_kl": "kl_coef * pi.d_kl",
            "(weights * policy(states).kl(": "(policy(states).kl(",
        },
        tests=GRPO,
    ),
    Defect(
        "ratio-to-itself",
        "GRPO: clip_range makes no difference",
        "the old log-probabilities are computed anew in each epoch",
        "scratchpg/algorithms/grpo.py",
        {
            "                    some = (x[i] for x in rows)\n": (
                "                    some = [x[i] for x in rows]\n"
                "                    some[2] = policy(some[0]).log_prob(some[1])\n"
            )
        },
        tests=GRPO,
    ),
    Defect(
        "a-seed-for-each",
        "GRPO: it learns little; what differs within a group is the luck of the start",
        "every environment has its own seed, so that the episodes of a group begin differently",
        "scratchpg/algorithms/grpo.py",
        {"size=n // group_size).repeat(group_size)": "size=n)"},
        tests=GRPO,
    ),
)
