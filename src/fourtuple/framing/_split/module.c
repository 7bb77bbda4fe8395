/* The module of the splitters. */
#include "framing/_split/split.h"

/* The version of the interface between this file and splitting.py, which refuses a build with another version. */
#define STAMP 8

#ifdef FOURTUPLE_COUNT
PyDoc_STRVAR(work_doc, "work()\n--\n\nOctets searched and copied since the last call.");

static PyObject *work(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *both = Py_BuildValue("LL", split_searched, split_copied);
    split_searched = split_copied = 0;
    return both;
}
#endif

static PyMethodDef methods[] = {
#ifdef FOURTUPLE_COUNT
    {"work", work, METH_NOARGS, work_doc},
#endif
    {0},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->api = split_api;
    state->api.pool = &state->pool; /* the types keep the module alive, and so its state */
    if (add_type(module, &split_splitter_spec, &state->api.splitter) < 0 ||
        add_type(module, &split_decoder_spec, &state->api.decoder) < 0)
        return -1;
    PyObject *api = PyCapsule_New(&state->api, SPLIT_API, NULL);
    int added = api == NULL ? -1 : PyModule_AddObjectRef(module, "api", api);
    Py_XDECREF(api);
    return added < 0 ? -1 : PyModule_AddIntMacro(module, STAMP);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->api.splitter);
    Py_VISIT(state->api.decoder);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->api.splitter);
    Py_CLEAR(state->api.decoder);
    pool_empty(&state->pool);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

#ifdef FOURTUPLE_COUNT
#define INTERPRETERS FT_MAIN_INTERPRETER /* the counts are static */
#else
#define INTERPRETERS FT_ANY_INTERPRETER
#endif

FT_MODULE(_split, INTERPRETERS, module_exec, .m_doc = "The splitters in C; see fourtuple.framing.splitting.",
          .m_size = sizeof(State), .m_traverse = module_traverse, .m_clear = module_clear, .m_free = module_free)
