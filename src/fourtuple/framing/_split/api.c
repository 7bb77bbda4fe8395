/* The functions of api.h: decoders for the turn in C. */
#include "framing/_split/split.h"

static PyObject *api_feed(PyObject *decoder, PyObject *octets, Py_ssize_t limit)
{
    return split_feed((Decoder *)decoder, octets, Py_MIN(limit, INT32_MAX));
}

static int api_failed(PyObject *decoder)
{
    return ((Decoder *)decoder)->left || ((Decoder *)decoder)->reference != NULL;
}

static int api_hold(PyObject *decoder, PyObject *octets)
{
    Decoder *d = (Decoder *)decoder;
    if (api_failed(decoder) || d->gathering || split_head_of_large(d) >= 0)
        return 0;
    end_batch(d);
    return take_in(d, octets, PyBytes_GET_SIZE(octets)) < 0 ? -1 : 1;
}

static Py_ssize_t api_lacks(PyObject *decoder)
{
    Decoder *d = (Decoder *)decoder;
    if (api_failed(decoder))
        return 0;
    if (d->gathering)
        return gathered_size(d) - d->end;
    return split_head_of_large(d) < 0 ? 0 : d->need - held(d);
}

static char *api_place(PyObject *decoder, Py_ssize_t size)
{
    Decoder *d = (Decoder *)decoder;
    if (!d->gathering && split_begin_gathering(d, split_head_of_large(d), size) < 0)
        return NULL;
    if (split_reserve(d, size, gathered_size(d)) < 0)
        return NULL;
    return PyBytes_AS_STRING(d->buf) + d->end;
}

static PyObject *api_arrived(PyObject *decoder, Py_ssize_t count)
{
    Decoder *d = (Decoder *)decoder;
    d->end += count;
    return split_feed(d, d->splitter->nothing, 1);
}

const SplitApi split_api = {
    .stamp = SPLIT_API_STAMP,
    .feed = api_feed,
    .hold = api_hold,
    .settle = split_settle,
    .buffered = split_buffered,
    .failed = api_failed,
    .encode_many = split_encode_many,
    .encode_one = split_encode_one,
    .lacks = api_lacks,
    .place = api_place,
    .arrived = api_arrived,
};
