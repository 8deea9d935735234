import pytest
import torch

from visavis.agent import matrices, smollm_layers
from visavis.agent.matrices import ByteMatrix, Matrix, has_byte_units

needs_bytes = pytest.mark.skipif(not has_byte_units(), reason="this processor has no units for bytes")


@pytest.mark.parametrize("exact", [True, False])
def test_products_are_those_of_the_weights(exact):
    if not exact and not matrices.has_bf16_units():
        pytest.skip("this processor has no units for bf16")
    weight, x = torch.randn(96, 64), torch.randn(7, 64)
    torch.testing.assert_close(Matrix(weight, exact)(x).float(), x @ weight.t(), rtol=0.02, atol=0.2)


@needs_bytes
def test_bytes_are_off_by_what_is_rounded():
    torch.manual_seed(0)
    weight, x = torch.randn(96, 128), torch.randn(50, 128) * torch.logspace(-6, 6, 50)[:, None]
    found, wanted = ByteMatrix(weight)(x), x @ weight.t()
    each = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert each.max() < 0.02  # rows of any size alike


@needs_bytes
def test_rows_of_nothing_give_nothing():
    weight = torch.randn(32, 64)
    weight[3] = 0
    x = torch.randn(4, 64)
    x[1] = 0
    found = ByteMatrix(weight)(x)
    assert torch.isfinite(found).all() and not found[:, 3].any() and not found[1].any()


@needs_bytes
def test_a_row_is_rounded_by_itself():
    weight, x = torch.randn(32, 64), torch.randn(5, 64)
    alone, huge = ByteMatrix(weight)(x[:1]), torch.cat([x[:1], 1e6 * x[1:]])
    assert torch.equal(alone, ByteMatrix(weight)(huge)[:1])


def test_a_processor_whose_bytes_overflow_is_not_trusted(monkeypatch):
    monkeypatch.setattr(matrices.torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(matrices.ByteMatrix, "__call__", lambda self, x: torch.full((2, 16), 32767.0))
    assert not has_byte_units.__wrapped__()
    monkeypatch.setattr(matrices.torch.cpu, "_is_vnni_supported", lambda: False)
    monkeypatch.setattr(matrices.torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not has_byte_units.__wrapped__()


def test_torch_without_such_products_is_no_error(monkeypatch):
    monkeypatch.setattr(matrices.torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(matrices, "_BYTES", object())
    assert not has_byte_units.__wrapped__()


def test_turning_twice_is_turning_back():
    x = torch.randn(3, 128)
    torch.testing.assert_close(smollm_layers._turned(smollm_layers._turned(x)), x)
