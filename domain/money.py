"""Amounts and currencies. Amounts are integers in the currency's minor unit."""

from typing import Final

from iso4217 import Currency

AMOUNT_MINOR_MAX: Final = 10**15
"""The largest single amount."""

BALANCE_MINOR_MAX: Final = 2**53 - 1
"""The largest balance in magnitude, so that a browser's number can hold every one."""

EXPONENTS: Final = {
    currency.code: currency.exponent for currency in Currency if currency.exponent is not None
}
"""ISO 4217 codes in use as money, with the decimal digits of their minor unit.

Codes without a minor unit (gold, test codes, drawing rights) are no wallet's currency.
"""
