"""Accounts, transfers and their entries, as SQLAlchemy's ORM maps them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Uuid, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """All tables of the plain design."""


class Account(Base):
    """A wallet with its balance in minor units."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("balance >= floor"),)

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    currency: Mapped[str]
    balance: Mapped[int] = mapped_column(BigInteger)
    floor: Mapped[int] = mapped_column(BigInteger)


class Transfer(Base):
    """What was asked for, under a key that is used once, and what became of it."""

    __tablename__ = "transfers"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    source_id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    destination_id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    amount: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str | None]
    status: Mapped[str]
    posted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    entries: Mapped[list["Entry"]] = relationship(back_populates="transfer")


class Entry(Base):
    """One side of a transfer."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transfer_id: Mapped[int] = mapped_column(ForeignKey("transfers.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    balance: Mapped[int] = mapped_column(BigInteger)
    transfer: Mapped[Transfer] = relationship(back_populates="entries")
