"""Dense training and finetuning: losses, schedules, the loop, and what is watched meanwhile."""
