/* build.c -- see build.h. */
#include "build.h"

enum { CLASSES_WITHOUT_DATA = 10 };

ebb_shape ebb_build_batch(ebb_shape shape, int n)
{
  shape.n = n;
  return shape;
}

static ebb_status from_data(ebb_shape *shape, int *classes, const ebb_config *c)
{
  ebb_data *data;
  EBB_TRY(ebb_data_open(&data, &c->data));
  *shape = data->shape;
  *classes = data->classes;
  ebb_data_close(data);
  return EBB_OK;
}

ebb_status ebb_build_shape(ebb_shape *shape, int *classes, const ebb_config *c)
{
  *classes = c->data.classes ? c->data.classes : CLASSES_WITHOUT_DATA;
  if (*c->data.shape) return ebb_data_shape_read(shape, c->data.shape);
  if (*c->data.train || *c->data.val) return from_data(shape, classes, c);
  return ebb_fail(EBB_CONFIG, "%s: expected data.shape or data.train, found neither\nhint: data.shape=32x32x3", c->origin);
}

ebb_status ebb_build_model(ebb_model *m, const ebb_config *c, ebb_shape shape, int classes)
{
  return ebb_network_model(m, c->network, c->model, shape, classes);
}

ebb_status ebb_build_fits(const ebb_model *m, const ebb_data *data)
{
  if (m->out.c >= data->classes) return EBB_OK;
  return ebb_fail(EBB_CONFIG, "model.classes: expected at least the %d classes of the data, found %d\nhint: leave it at 0",
                  data->classes, m->out.c);
}
