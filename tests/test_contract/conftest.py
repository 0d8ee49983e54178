import pytest
from contract_stub import Stub


@pytest.fixture(scope='session')
def stub(tmp_path_factory) -> Stub:
    """Data, an original and the runs of the presets, shared by all tests of the contract."""
    return Stub(tmp_path_factory.mktemp('contract'))
