"""The chapters, in reading order: reinforce, baseline, actor_critic, a2c, a3c, ppo."""
