/* The base type of streams. */
#include "stream/_fields/stream.h"

FT_BASE(StreamFields, STREAM_FIELDS, "The fields of a stream; see fourtuple.stream.fields.")
