"""A name that a package does not have is reported where it is misspelt: each marked line, and no other one."""

import fourtuple
import fourtuple.testing
from fourtuple import Conection  # wrong
from fourtuple.blocking import conect  # wrong
from fourtuple.errors import DeadlinePast  # wrong
from fourtuple.events import Acepted  # wrong
from fourtuple.framing import Lines  # wrong
from fourtuple.observe import JsonLine  # wrong
from fourtuple.options import Limit  # wrong

print(Conection, conect, DeadlinePast, Acepted, Lines, JsonLine, Limit)

fourtuple.framing.Fixd(16)  # wrong
fourtuple.Serivce("line")  # wrong
fourtuple.load.Lode()  # wrong
print(fourtuple.adapters.stream)  # wrong
fourtuple.testing.memory_pear("line")  # wrong
