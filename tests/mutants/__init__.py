"""General mutation: every operator, constant, comparison and sign of the maths is changed, one at a time, and the tests
must notice. `python -m tests.mutants` prints the score of each module and every mutant that survived, with the reason.
"""
