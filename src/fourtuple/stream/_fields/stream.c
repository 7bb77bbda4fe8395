/* The base types of streams and layers. */
#include "stream/_fields/stream.h"

FT_BASE(StreamFields, STREAM_FIELDS, {Py_tp_doc, "The fields of a stream; see fourtuple.stream.fields."})
FT_BASE(LayerFields, LAYER_FIELDS, {Py_tp_doc, "The fields of a layer; see fourtuple.stream.fields."})
