/* The base type of streams. */
#include "stream/_fields/stream.h"

#define FT_TYPE StreamFields
static PyMemberDef stream_members[] = {STREAM_FIELDS(FT_MEMBER){NULL, 0, 0, 0, NULL}};
FT_BASE(StreamFields, stream_members, "The fields of a stream; see fourtuple.stream.fields.")
