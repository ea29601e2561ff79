"""Learners that train on traces of a token MDP, one method a file: pure functions, mapped over seeds.

=====================  ===========================================================================
``problem``            what a learner is given; numbers it is run with; softmax policies
``data``               traces drawn by key, labels flipped, counts, exact counts
``count_mle``          behaviour cloning by counting
``class_mle``          behaviour cloning over a finite class
``softmax_sft``        behaviour cloning by softmax regression on features
``class_erm``          verifier by empirical risk over a finite class
``logistic_verifier``  verifier by logistic regression on features
``search``             the law of the true solve time under a search with a verifier; its error
``top_c``              the top mass c of the learnt return
``best_of_n``          the best of N by the learnt return
``policy_gradient``    exact gradients through the dynamic programme, chi-squared or KL penalty
``reinforce``          the same objective from rollouts
``expert_iteration``   rejection fine-tuning in rounds
``dpo``                direct preference optimisation, solved against unsolved
``bayes``              exact posterior over a finite class: the floor for all of them
``registry``           all of them by name, with the bounds that speak of them
=====================  ===========================================================================
"""
