/* The base type of streams. */
#include "stream/_fields/stream.h"

FT_BASE(StreamFields, STREAM_FIELDS, {Py_tp_doc, "The fields of a stream; see fourtuple.stream.fields."})
