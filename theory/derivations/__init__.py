"""The proofs of the statements: a module for each room of :mod:`theory`, a ``Derivation`` for each label."""
