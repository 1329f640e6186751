"""The chapters: reinforce, baseline, actor_critic, a2c, a3c, ppo; trpo, grpo; dqn, rainbow, sac; imitation, rlfd, mpc.
README.md in this folder is their derivation. A chapter of policy gradients has the functions

loss(policy, …)       the surrogate L(θ), a number; only its gradient means something
gradient(policy, …)   ∇L, flat in θ (P,), to descend along
train(env, policy, …) a generator of `Progress`, one per update, that trains the networks in place. `seed` or `rng` is
                      its one source of randomness: the same seed gives the same bits, but for A3C with several
                      workers. A3C takes make_env for env. The signature says what each setting means

ValueError or TypeError tells what is wrong with an argument, at the call. A run that diverges ends in a
FloatingPointError with the step and the quantity, and leaves the networks at their last finite parameters.
"""
