/* volumes_axes.c -- which axis is which where labels are maps; see volumes.h.
 * Owns: the rules. The label has the raw data's axes but the channels, which tells channels exactly; whether what is left is a
 * volume or a stack of images is told by attributes, data.axes, the place of the channels, or that it is one file of many;
 * else it is a doubt, and an error. */
#include <string.h>

#include "datasets/volumes_parts.h"

/* Does `label` have raw's sizes but axis `at`? */
static bool without(const ebb_h5_dataset *raw, const ebb_h5_dataset *label, int at)
{
  for (int i = 0, j = 0; i < raw->rank; i++)
    if (i != at && raw->dims[i] != label->dims[j++]) return false;
  return true;
}

/* The axis of channels; -1: there is none; -2: sizes do not go together; -3: more than one axis would do. */
static int channel_axis(const ebb_h5_dataset *raw, const ebb_h5_dataset *label)
{
  int found = -2;
  if (raw->rank == label->rank) return memcmp(raw->dims, label->dims, (size_t)raw->rank * sizeof *raw->dims) == 0 ? -1 : -2;
  if (raw->rank != label->rank + 1) return -2;
  for (int i = 0; i < raw->rank; i++)
    if (without(raw, label, i)) found = found == -2 || raw->dims[i] == 1 ? i : -3;
  return found;
}

static ebb_status refuse_sizes(const ebb_h5 *f, const ebb_h5_dataset *raw, const ebb_h5_dataset *label, ebb_pool *pool)
{
  return ebb_fail(EBB_DATA,
                  "%s: expected a label for each site of the raw data, found %s %s and %s %s\nhint: the label's sizes are the raw "
                  "data's without the channels; choose other datasets with data.raw=NAME and data.label=NAME",
                  ebb_h5_path(f), raw->path, ebb_h5_describe(raw, pool), label->path, ebb_h5_describe(label, pool));
}

static ebb_status refuse_doubt(const ebb_h5 *f, const ebb_h5_dataset *raw, const char *one, const char *other, ebb_pool *pool)
{
  return ebb_fail(EBB_DATA,
                  "%s:%s: expected axes that can be read in one way, found %s, which can be %s and %s\nhint: say which axis is which "
                  "with data.axes=%s or data.axes=%s",
                  ebb_h5_path(f), raw->path, ebb_h5_describe(raw, pool), one, other, one, other);
}

/* The letters of what is not channels: three axes may be a volume or a stack of images. */
static const char *sites(int axes, bool stack)
{
  switch (axes) {
  case 1: return "w";
  case 2: return stack ? "nw" : "hw";
  case 3: return stack ? "nhw" : "dhw";
  default: return "ndhw";
  }
}

static const char *insert(const char *letters, int at, ebb_pool *pool)
{
  return at < 0 ? letters : ebb_pool_text(pool, "%.*sc%s", at, letters, letters + at);
}

/* The label without its axis of masks: where it has one more than the raw data. With as many, sizes that differ are a mistake, unless
 * data.axes or an attribute says that there are channels. */
static ebb_h5_dataset without_masks(const ebb_h5_dataset *raw, const ebb_h5_dataset *label)
{
  const int places[] = {0, 1, label->rank - 1};
  for (int k = 0; k < 3 && label->rank == raw->rank + 1; k++) {
    ebb_h5_dataset bare = *label;
    bare.rank--;
    for (int i = places[k]; i < bare.rank; i++) bare.dims[i] = label->dims[i + 1];
    if (channel_axis(raw, &bare) != -2) return bare;
  }
  return *label;
}

/* By the sizes and the place of the channels alone. `many`: the file is one of many, so it is no stack. */
static ebb_status by_sizes(const char **axes, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *raw, const ebb_h5_dataset *label, bool many)
{
  ebb_h5_dataset bare = channel_axis(raw, label) == -2 ? without_masks(raw, label) : *label;
  int c = channel_axis(raw, &bare), rest = bare.rank;
  if (c == -2 || rest > 4 || rest < 1) return refuse_sizes(f, raw, label, notes->pool);
  if (c == -3) return refuse_doubt(f, raw, insert(sites(rest, false), 0, notes->pool), insert(sites(rest, false), rest, notes->pool), notes->pool);
  bool first = c == 0, second = c == 1, sure = rest == 1 || rest == 4 || first || (second && rest > 1);
  bool stack = second && rest > 1;
  const char *volume = insert(sites(rest, false), c, notes->pool), *images = insert(sites(rest, true), c, notes->pool);
  if (!sure && !many && rest == 3) return refuse_doubt(f, raw, volume, images, notes->pool);
  *axes = stack ? images : volume;
  ebb_note(notes, "%s:%s: axes %s of %s, because %s (data.axes overrides)", ebb_h5_path(f), raw->path, *axes,
           ebb_h5_describe(raw, notes->pool),
           first ? "the label has all axes but the first" : stack ? "the label has all axes but the second" : many ? "each file holds one" : "the label has the same");
  return EBB_OK;
}

static char canonical(char letter)
{
  static const char from[] = "xyzt", to[] = "whdn";
  const char *at = strchr(from, letter | 32);
  return at && letter ? to[at - from] : (char)(letter | 32);
}

/* Letters of n c d h w, each at most once, w among them, d only with h. */
static bool sensible(const char *letters)
{
  for (const char *l = letters; *l; l++)
    if (!strchr("ncdhw", *l) || strchr(l + 1, *l)) return false;
  return strchr(letters, 'w') && (!strchr(letters, 'd') || strchr(letters, 'h'));
}

static ebb_status as_said(const char **axes, const ebb_h5 *f, const ebb_h5_dataset *raw, const char *wanted, ebb_pool *pool)
{
  char *letters = ebb_pool_text(pool, "%s", wanted);
  for (char *l = letters; *l; l++) *l = canonical(*l);
  if (strlen(letters) != (size_t)raw->rank || !sensible(letters))
    return ebb_fail(EBB_CONFIG, "data.axes: expected %d letters of n c d h w (or t c z y x) for %s:%s %s, found \"%s\"", raw->rank,
                    ebb_h5_path(f), raw->path, ebb_h5_describe(raw, pool), wanted);
  *axes = letters;
  return EBB_OK;
}

/* Do the letters, of which c may have any size, fit the label's sizes? */
static bool fits_label(const ebb_stack *s, const char *letters)
{
  if (strlen(letters) != (size_t)s->label->rank) return false;
  for (int i = 0; letters[i]; i++) {
    const char *at = strchr(s->raw_axes, letters[i]);
    if (letters[i] != 'c' && (!at || s->raw->dims[at - s->raw_axes] != s->label->dims[i])) return false;
  }
  return true;
}

/* A label may have the channels' axis, too: of one place, or of masks. It stands where the raw data's does, behind n, or last. */
static ebb_status set_axes(ebb_stack *s, const ebb_h5 *f, const char *axes, ebb_pool *pool)
{
  char *bare = ebb_pool_text(pool, "%s", axes), *c = strchr(bare, 'c');
  strcpy(s->raw_axes, axes);
  if (!s->label) return EBB_OK;
  if (c) memmove(c, c + 1, strlen(c));
  const char *readings[] = {bare, axes, insert(bare, *bare == 'n', pool), insert(bare, (int)strlen(bare), pool)};
  for (int i = 0; i < 4; i++) {
    const char *mask = strchr(readings[i], 'c');
    if (!fits_label(s, readings[i])) continue;
    strcpy(s->label_axes, readings[i]);
    s->masks = mask && s->label->dims[mask - readings[i]] > 1 ? (int)s->label->dims[mask - readings[i]] : 0;
    if (s->masks <= EBB_LABEL_PAIRS) return EBB_OK;
    return ebb_fail(EBB_DATA, "%s:%s: expected at most %d masks, found %d", s->file, s->label->path, EBB_LABEL_PAIRS, s->masks);
  }
  return refuse_sizes(f, s->raw, s->label, pool);
}
ebb_status ebb_volumes_axes(ebb_stack *s, ebb_notes *notes, const ebb_h5 *f, const char *wanted, bool many)
{
  const char *axes = NULL;
  if (*wanted) {
    EBB_TRY(as_said(&axes, f, s->raw, wanted, notes->pool));
  } else if (s->raw->axes && strlen(s->raw->axes) == (size_t)s->raw->rank && sensible(s->raw->axes)) {
    axes = s->raw->axes;
    ebb_note(notes, "%s:%s: axes %s, as its attribute %s says", ebb_h5_path(f), s->raw->path, axes, s->raw->axes_from);
  } else {
    EBB_TRY(by_sizes(&axes, notes, f, s->raw, s->label, many));
  }
  return set_axes(s, f, axes, notes->pool);
}

/* ---- images to be predicted ------------------------------------------------------------------------------------------- */
/* Readings of raw as one sample or many of the network's input, of so many channels: at most two that differ. */
static int readings(const char *found[2], const ebb_h5_dataset *raw, ebb_shape x, uint64_t channels, ebb_pool *pool)
{
  static const char all[] = "dhw";
  const char *plain = all + 3 - x.rank;
  int count = 0, extra = raw->rank - x.rank;
  if (extra == 0 && channels == 1) found[count++] = plain;
  if (extra == 1 && raw->dims[0] == channels) found[count++] = ebb_pool_text(pool, "c%s", plain);
  if (extra == 1 && raw->dims[raw->rank - 1] == channels) found[count++] = ebb_pool_text(pool, "%sc", plain);
  if (extra == 1 && channels == 1 && count == 0) found[count++] = ebb_pool_text(pool, "n%s", plain);
  if (extra == 2 && raw->dims[1] == channels) found[count++] = ebb_pool_text(pool, "nc%s", plain);
  if (extra == 2 && raw->dims[raw->rank - 1] == channels) found[count++] = ebb_pool_text(pool, "n%sc", plain);
  return count;
}

/* Colours are read as grey by a network of one channel, if nothing else explains the sizes. */
static ebb_status by_network(const char **axes, bool *grey, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *raw, ebb_shape x)
{
  const char *found[2], *coloured[2];
  int count = readings(found, raw, x, (uint64_t)x.c, notes->pool), colours = x.c == 1 ? readings(coloured, raw, x, 3, notes->pool) : 0;
  *grey = colours == 1 && (count == 0 || coloured[0][raw->rank - 1] == 'c');
  if (*grey) {
    *axes = coloured[0];
    ebb_note(notes, "%s:%s: axes %s of %s: colours, read as grey because the network has one channel (data.axes overrides)", ebb_h5_path(f), raw->path,
             *axes, ebb_h5_describe(raw, notes->pool));
    return EBB_OK;
  }
  if (count == 2) return refuse_doubt(f, raw, found[0], found[1], notes->pool);
  if (count == 0)
    return ebb_fail(EBB_DATA, "%s:%s: expected %d-D data of %d channels, as the network was trained on, found %s\nhint: choose another dataset "
                    "with data.raw=NAME, or say which axis is which with data.axes", ebb_h5_path(f), raw->path, x.rank, x.c,
                    ebb_h5_describe(raw, notes->pool));
  *axes = found[0];
  ebb_note(notes, "%s:%s: axes %s of %s, because the network is %d-D with %d channels (data.axes overrides)", ebb_h5_path(f), raw->path, *axes,
           ebb_h5_describe(raw, notes->pool), x.rank, x.c);
  return EBB_OK;
}

/* Has it the network's dimensions, each with more than nothing beyond them? */
static bool fits_network(const char *axes, ebb_shape x)
{
  return (strchr(axes, 'd') != NULL) <= (x.rank == 3) && (strchr(axes, 'h') != NULL) == (x.rank >= 2);
}

ebb_status ebb_volumes_axes_for(ebb_stack *s, ebb_notes *notes, const ebb_h5 *f, const char *wanted, ebb_shape x, bool needed)
{
  const char *axes = NULL;
  if (*wanted && strlen(wanted) == (size_t)s->raw->rank) {
    EBB_TRY(as_said(&axes, f, s->raw, wanted, notes->pool));
  } else if (s->raw->axes && strlen(s->raw->axes) == (size_t)s->raw->rank && sensible(s->raw->axes) && fits_network(s->raw->axes, x)) {
    axes = s->raw->axes;
    ebb_note(notes, "%s:%s: axes %s, as its attribute %s says", ebb_h5_path(f), s->raw->path, axes, s->raw->axes_from);
  } else {
    EBB_TRY(by_network(&axes, &s->grey, notes, f, s->raw, x));
  }
  ebb_status status = set_axes(s, f, axes, notes->pool);
  if (status == EBB_OK || needed || !s->label) return status;
  ebb_note(notes, "warning: labels are left aside: %s", ebb_message());
  s->label = NULL;
  return EBB_OK;
}
