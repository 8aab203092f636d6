"""Every message that Holdfast's processes exchange: the one list of contracts, divided by receiver.

Commands are imperative, notifications and reports are past tense. Contracts only ever grow: a new field has a
default, and a consumer ignores what it does not know, so that old and new processes run side by side.
"""

from common.contracts.messages.base import *  # noqa: F403
from common.contracts.messages.booking import *  # noqa: F403
from common.contracts.messages.gateway import *  # noqa: F403
from common.contracts.messages.payment import *  # noqa: F403
from common.contracts.messages.webhooks import *  # noqa: F403
