"""Who takes part in a run: clients with keys, their wallets with money, and their lanes."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bench.torture.callbacks import Receiver
from bench.torture.flow import Flow, wallet_of_each_partition
from bench.torture.http import Http
from bench.torture.journal import FEED, Journal, Listener
from bench.torture.lanes import BATCH_MOST, Lane, Poller
from bench.torture.pace import Pace
from bench.torture.partner import Partner
from bench.torture.plan import MAIN_CURRENCY, Order, Past, Plan, Wallet, wallets_of
from bench.torture.town import PARTITIONS, Town, through
from domain.events import CALLBACK_TYPES
from ops.partners import Asked, Provisioning
from ops.stack.ports import HOST
from storage import clients

_CLIENTS: Final = ("shop", "bank")
_BATCH_LANES: Final = 3
_SINGLE_LANES: Final = 3
_CUSTOMERS_OF_LANE: Final = 16
_CUSTOMERS_OF_CANARY: Final = 40
_GRANTED: Final = 6
_HOT: Final = 8
_FIRST_MONEY: Final = 20_000
_POLLED_SHARE: Final = 0.05

_PARTNER: Final = "acme"
_PARTNER_LANES: Final = 3
_CANARY_S: Final = 4.0

_WHO: Final = "torture"


@dataclass(slots=True)
class Member:
    """A client with its lanes."""

    id: int
    name: str
    http: Http
    past: Past
    poller: Poller
    plans: list[Plan] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)


class World:
    """All clients of a run. `settle_in` before use, inside the event loop."""

    def __init__(self, town: Town, journal: Journal, pace: Pace, seed: int) -> None:
        self._town = town
        self._journal = journal
        self._pace = pace
        self._seed = seed
        self.members: list[Member] = []
        self.flow: Flow
        self.partner: Partner
        self.receiver: Receiver
        self._canary: Member
        self._partner_plans: list[Plan] = []

    async def settle_in(self) -> None:
        """Make clients, customers and wallets, and give them money, through the front door."""
        ground = self._town.ground
        self._canary = self._member("canary", ground.client_id, ground.api_key)
        for name in _CLIENTS:
            self.members.append(self._member(name, *self._provision(name)))
        await self._add_partner()
        await self._add_receiver(self.members[0])
        for member in self.members[: len(_CLIENTS)]:
            for number in range(_BATCH_LANES + _SINGLE_LANES):
                batches = number < _BATCH_LANES
                self._lane(member, f"{member.name}-{number}", batches=batches)
        birds = self._lane(self._canary, "canary-0", batches=True)
        everybody = [(self._canary, birds)] + [
            (member, lane) for member in self.members for lane in member.lanes
        ]
        await asyncio.gather(*(self._open(member, lane) for member, lane in everybody))
        self._introduce()
        await asyncio.gather(*(self._fund(member, plan) for member, plan in self._plans()))
        plan = self._canary.plans[0]
        wallets = wallet_of_each_partition(
            [wallet for wallet in plan.own if wallet.currency == MAIN_CURRENCY], PARTITIONS
        )
        self.partner.listen()
        self.flow = Flow(self._canary.http, plan, wallets, self._fly_by_queue)

    def start(self, stopping: asyncio.Event) -> list[asyncio.Task[None]]:
        """Set every lane to work."""
        return [
            asyncio.create_task(lane.run(stopping))
            for member in self.members
            if member.name != _PARTNER
            for lane in member.lanes
        ] + [
            asyncio.create_task(self.partner.run(plan, self._pace, stopping))
            for plan in self._partner_plans[1:]
        ]

    async def settle(self) -> None:
        """Wait until everything that is being polled is decided."""
        for member in self.members:
            await member.poller.settle()

    async def read_feeds(self) -> None:
        """Let every client read all its events, from the first to the last."""
        for member in (*self.members, self._canary):
            self._journal.listeners.append(Listener(FEED, member.id))
            await member.http.read_feed()

    async def close(self) -> None:
        """Disconnect all clients."""
        await self.partner.close()
        await self.receiver.close()
        for member in (*self.members, self._canary):
            await member.poller.give_up()
            await member.http.close()

    def _plans(self) -> list[tuple[Member, Plan]]:
        return [(each, plan) for each in (*self.members, self._canary) for plan in each.plans]

    def _member(self, name: str, client_id: int, key: str) -> Member:
        http = Http(self._journal, client_id, key, self._town.addresses)
        chance = random.Random(f"{self._seed} poller {name}")
        return Member(client_id, name, http, Past(), Poller(http, chance, _POLLED_SHARE))

    def _provision(self, name: str) -> tuple[int, str]:
        with self._town.ground.operator() as engine, engine.begin() as connection:
            client_id = clients.add_client(connection, name, clients.SCOPES, who=_WHO, reason=_WHO)
            return client_id, clients.add_key(connection, name, kind="test", who=_WHO, reason=_WHO)

    async def _add_partner(self) -> None:
        """A partner with an inbox, for whom HTTP is open as well."""
        settings = self._town.ground.settings(
            broker_admin_url=self._town.ground.services.rabbitmq.management_url
        )
        with self._town.ground.operator() as engine:
            asked = Asked(_PARTNER, scopes=clients.SCOPES, key_kind="test", rate_per_s=10_000)
            issued = await asyncio.to_thread(
                partial(Provisioning(settings, engine).add, asked, who=_WHO, reason=_WHO)
            )
            with engine.connect() as connection:
                client_id = clients.client_id_of(connection, _PARTNER)
        assert issued.broker_url is not None
        assert issued.api_key is not None
        member = self._member(_PARTNER, client_id, issued.api_key)
        self.members.append(member)
        url = through(issued.broker_url, self._town.partner_port)
        self.partner = Partner(self._journal, client_id, url)
        # The first plan is the canaries'; its lane over HTTP opens what the others use.
        for number in range(_PARTNER_LANES + 1):
            self._lane(member, f"{_PARTNER}-{number}", batches=True)
        self._partner_plans = member.plans[:]

    async def _fly_by_queue(self) -> bool:
        plan = self._partner_plans[0]
        source = plan.own[plan.chance.randrange(len(plan.own))]
        return await self.partner.fly(plan.canary(source, self.flow.wallets[0]), _CANARY_S)

    async def _add_receiver(self, member: Member) -> None:
        """A server of a client's that is called back for everything."""
        chance = random.Random(f"{self._seed} receiver")
        self.receiver = Receiver(self._journal, member.id, chance)
        await self.receiver.open()
        port = await self._town.receive(self.receiver.port)
        body = {"url": f"http://{HOST}:{port}/", "events": list(CALLBACK_TYPES)}
        self.receiver.secret = await member.http.add_endpoint(body)

    def _lane(self, member: Member, name: str, *, batches: bool) -> Lane:
        plan = Plan(
            lane=name,
            client_id=member.id,
            chance=random.Random(f"{self._seed} {name}"),
            own=[],
            customers=[],
            others=[],
            hot=[],
            foreign=[],
            past=member.past,
        )
        member.plans.append(plan)
        lane = Lane(member.http, plan, self._pace, member.poller, batches=batches)
        member.lanes.append(lane)
        return lane

    async def _open(self, member: Member, lane: Lane) -> None:
        plan = lane.plan
        count = _CUSTOMERS_OF_CANARY if member is self._canary else _CUSTOMERS_OF_LANE
        orders = plan.customer_orders(count)
        await _insist(member.http, orders)
        await asyncio.gather(*(member.poller.until_opened(plan, order) for order in orders))
        assert {wallet.id for wallet in plan.own} == {
            wallet.id for wallet in wallets_of(orders, plan.client_id)
        }

    def _introduce(self) -> None:
        """Let everybody know whom they can send money to, and grant some wallets of others."""
        plans = [plan for _, plan in self._plans() if plan is not self._canary.plans[0]]
        everything = [wallet for plan in plans for wallet in plan.own]
        hot = everything[:: max(1, len(everything) // _HOT)][:_HOT]
        owned = {m.id: [w for p in m.plans for w in p.own] for m in self.members}
        shop, bank = self.members[0], self.members[1]
        granted = owned[shop.id][1 :: len(owned[shop.id]) // _GRANTED][:_GRANTED]
        self._grant(bank, granted)
        for member, plan in self._plans():
            plan.others = everything if member is not self._canary else plan.own
            plan.hot = hot
            plan.foreign = [
                wallet
                for client_id, wallets in owned.items()
                if client_id != member.id
                for wallet in wallets
                if member is not bank or wallet not in granted
            ]
        bank.plans[0].own += granted

    def _grant(self, member: Member, wallets: Sequence[Wallet]) -> None:
        with self._town.ground.operator() as engine, engine.begin() as connection:
            for wallet in wallets:
                clients.grant(connection, member.name, wallet.id, who=_WHO, reason=_WHO)

    async def _fund(self, member: Member, plan: Plan) -> None:
        orders = [plan.deposit_order(wallet, _FIRST_MONEY) for wallet in plan.own]
        for start in range(0, len(orders), BATCH_MOST):
            await _insist(member.http, orders[start : start + BATCH_MOST])


async def _insist(http: Http, orders: Sequence[Order]) -> None:
    """Send a batch until all of it is accepted. Raises: RuntimeError if any is refused."""
    while True:
        verdicts = set(await http.batch(orders))
        if verdicts == {"accepted"}:
            return
        if any(verdict.startswith("refused") for verdict in verdicts):
            raise RuntimeError(f"refused: {verdicts}")
        await asyncio.sleep(0.5)
