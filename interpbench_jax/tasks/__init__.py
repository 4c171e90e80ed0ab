"""What training, evaluation and scoring know of an algorithm."""
