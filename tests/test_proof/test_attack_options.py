"""The options of attackers are the fields of their plan, with its defaults."""
from dataclasses import fields

from basicsr_unlearn.options.attack_sections import Attackers
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan


def test_the_options_of_attackers_are_the_fields_of_their_plan():
    defaults = {field.name: list(field.default) if isinstance(field.default, tuple) else field.default
                for field in fields(AttackPlan)}
    assert {name: field.default for name, field in Attackers.model_fields.items()} == defaults
