"""A small English thesaurus of neutral words, and reading one of the user's own.

Belongs here: groups of words that may stand for each other. Does not belong here: words that carry
a label (insults, slurs, threats, names of groups, negations): whoever swaps those swaps the label.

Every word of a group replaces every other in the same grammatical form, so a group holds one form.
It is small on purpose (about 300 words): a larger one is a JSON file away (``load``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

Thesaurus = Mapping[str, tuple[str, ...]]

_GROUPS = """
big large huge enormous | small little tiny | quick fast rapid speedy | quickly fast rapidly
begin start commence | begins starts commences | began started commenced | end finish conclude
ended finished concluded | buy purchase acquire | bought purchased acquired | help assist aid
helped assisted aided | show display present | shows displays presents | showed displayed presented
talk speak chat | talked spoke chatted | talking speaking chatting | say state mention
said stated mentioned | ask inquire | asked inquired | answer reply respond | answered replied
think believe reckon suppose | thought believed reckoned supposed | know understand realize
look glance gaze | looked glanced gazed | looking glancing gazing | see notice observe
saw noticed observed | get obtain receive | got obtained received | make create build produce
made created built produced | making creating building producing | use employ utilize
used employed utilized | using employing utilizing | want wish desire | wanted wished desired
need require | needed required | needs requires | try attempt | tried attempted | trying attempting
choose pick select | chose picked selected | change alter modify | changed altered modified
keep retain hold | kept retained held | give offer hand | gave offered handed | find discover locate
found discovered located | happen occur | happens occurs | happened occurred | allow permit let
allowed permitted | wait stay remain | waited stayed remained | leave depart | walk stroll
walked strolled | eat dine | sleep rest | fix repair mend | fixed repaired mended | send mail post
sent mailed posted | read peruse | write compose | wrote composed | watch view | watched viewed
movie film picture | movies films pictures | car automobile vehicle | cars automobiles vehicles
house home residence | houses homes residences | street road avenue | streets roads avenues
job position post | jobs positions posts | money cash funds | photo picture image
photos pictures images | story tale narrative | stories tales narratives | idea thought notion
ideas thoughts notions | problem issue difficulty | problems issues difficulties
question query | questions queries | part portion section | parts portions sections
place spot location | places spots locations | town city | towns cities | country nation land
countries nations lands | child kid youngster | children kids youngsters | friend pal companion
friends pals companions | boss manager supervisor | bosses managers supervisors
teacher instructor tutor | teachers instructors tutors | doctor physician | doctors physicians
shop store | shops stores | trip journey voyage | trips journeys voyages | gift present
gifts presents | law rule regulation | laws rules regulations | group team crew | groups teams crews
goal aim objective | goals aims objectives | way manner method | ways manners methods
kind sort type | kinds sorts types | amount quantity | amounts quantities | error mistake fault
errors mistakes faults | chance opportunity | chances opportunities | event occasion
events occasions | evening night | start beginning | new recent fresh | old aged ancient
important significant major | easy simple | easily simply | hard difficult tough | true correct
whole entire complete | usual normal typical | usually normally typically | strange odd unusual
often frequently regularly | sometimes occasionally | maybe perhaps possibly | probably likely
almost nearly | really truly | very extremely highly | also too | only just merely | about around
again anew | soon shortly | now currently presently | today nowadays | finally eventually lastly
completely totally entirely wholly | suddenly abruptly | clearly obviously plainly | because since
however nevertheless | therefore thus hence | although though | near close | many numerous several
enough sufficient | whole full | calm quiet | rich wealthy | famous known renowned
"""


def parse(groups: Iterable[Iterable[str]]) -> Thesaurus:
    """A thesaurus from groups.

    A word of several groups ("present": show, gift) is never replaced, because which is meant is
    unknown; it may still replace the others.

    Args:
        groups: Groups of lower-case single words.

    Raises:
        ValueError: A word that is not a single lower-case word.
    """
    found: dict[str, tuple[str, ...]] = {}
    for group in groups:
        words = tuple(group)
        if bad := [word for word in words if not word.isalpha() or word != word.lower()]:
            raise ValueError(
                f"{bad} are not single lower-case words; a thesaurus replaces one word by another"
            )
        for word in words:
            others = tuple(other for other in words if other != word)
            found[word] = () if word in found else others
    return MappingProxyType({word: others for word, others in found.items() if others})


def load(path: Path) -> Thesaurus:
    """Read a JSON list of groups, e.g. ``[["film", "movie"], ["big", "large"]]``.

    Raises:
        ValueError: The file holds something else.
    """
    groups = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and all(isinstance(word, str) for word in group) for group in groups
    ):
        raise ValueError(f"{path} must hold a JSON list of lists of words")
    return parse(groups)


#: The thesaurus that is used when nobody gives one.
NEUTRAL: Thesaurus = parse(
    group.split() for line in _GROUPS.strip().splitlines() for group in line.split("|")
)
