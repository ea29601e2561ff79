"""The proofs of the statements: one module for each room of :mod:`theory`, a :class:`~theory.proof.Derivation` for each label."""
