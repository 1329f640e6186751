"""Classic mistakes of policy-gradient code, each of which the tests must notice; and, one at a time, an exercise.

python -m tests.planted                    plant each, run the tests that fit, say which test caught it
python -m tests.planted 7 entropy-sign     only these
python -m tests.planted --exercise 7       a copy of the library with one mistake in it, for you to find
"""
