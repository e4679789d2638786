/* report.c -- see report.h. The picture is drawn beside its place and then renamed, so that a viewer never sees half. */
#define _POSIX_C_SOURCE 200809L
#include "report.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/option.h"
#include "train/loss.h"

/* A path for gnuplot's single quotes: ' is doubled. */
static const char *quoted(const char *path, ebb_pool *pool)
{
  const char *text = "";
  for (const char *p = path; *p; p++) text = ebb_pool_text(pool, "%s%c%s", text, *p, *p == '\'' ? "'" : "");
  return text;
}

static void note_missing(void)
{
  static int said = 0;
  if (!said++) fputs("ebb: note: gnuplot is not installed, so there are no pictures (Debian: gnuplot-nox)\n", stderr);
}

/* Runs gnuplot on a script that draws into `picture`.part; true if the picture is in its place. */
static void draw(const char *picture, const char *script, ebb_pool *pool)
{
  const char *part = ebb_pool_text(pool, "%s.part", picture);
  FILE       *gnuplot = popen("exec gnuplot 2>/dev/null", "w");
  if (!gnuplot) return;
  fprintf(gnuplot, "set terminal pngcairo size 1100,520 noenhanced font 'sans,10'\nset output '%s'\n%s\nset output\n",
          quoted(part, pool), script);
  int code = pclose(gnuplot);
  if (WIFEXITED(code) && WEXITSTATUS(code) == 127) note_missing();
  else if (code != 0 || rename(part, picture) != 0) unlink(part);
}

/* Few batches of a flow may be thousands of times less likely than all others: single losses far above the first are cut off, lest they be
 * all that is seen; but not most of them, nor validations. A log may have nothing to measure. */
static const char *without_spikes(const char *log, ebb_pool *pool)
{
  return ebb_pool_text(pool,
    "stats '%s' using 'loss' name 'all' nooutput\nstats '%s' using 'loss' every ::0::0 name 'first' nooutput\n"
    "stats '%s' using 'val_loss' name 'val' nooutput\ncut = 0\n"
    "if (exists('first_max') && exists('all_min')) {\n  span = first_max - all_min\n  top = first_max + span / 10\n"
    "  cut = all_up_quartile < top && all_max > first_max + span / 2\n}\n"
    "if (cut && exists('val_up_quartile')) cut = val_up_quartile < top\n", log, log, log);
}

void ebb_report_curves(const char *folder, bool maps, size_t dimensions)
{
  static const char accuracy[] = "set ylabel 'accuracy, %%'\nset key bottom right\n"
    "plot '%s' using 'step':(100*column('accuracy')) with lines title 'training', "
    "'' using 'step':(100*column('val_accuracy')) with linespoints pt 7 ps 0.6 title 'validation'";
  static const char dice[] = "set ylabel 'Dice, mean over classes'\nset key bottom right\n"
    "plot '%s' using 'step':'val_dice' with linespoints pt 7 ps 0.6 title 'validation'";
  static const char bits[] = "set ylabel 'bits per dimension'\nset key top right\nif (cut) set yrange [*:top * %.9g]\n"
    "plot '%s' using 'step':(%.9g*column('loss')) with lines title 'training', "
    "'' using 'step':(%.9g*column('val_loss')) with linespoints pt 7 ps 0.6 title 'validation'";
  ebb_pool    pool = {0};
  const char *log = quoted(ebb_pool_text(&pool, "%s/log.csv", folder), &pool);
  double      bit = dimensions ? ebb_bits(1, dimensions) : 0;
  const char *second = dimensions ? ebb_pool_text(&pool, bits, bit, log, bit, bit) : ebb_pool_text(&pool, maps ? dice : accuracy, log);
  const char *script = ebb_pool_text(&pool,
    "set datafile separator ','\nset datafile missing NaN\nset grid\nset xlabel 'step'\n%sset multiplot layout 1,2\n"
    "set ylabel '%s'\nset key top right\nif (cut) set yrange [*:top]\n"
    "plot '%s' using 'step':'loss' with lines title 'training', "
    "'' using 'step':'val_loss' with linespoints pt 7 ps 0.6 title 'validation'\n"
    "set yrange [*:*]\n%s\nunset multiplot", without_spikes(log, &pool), dimensions ? "nats a sample" : "loss", log, second);
  draw(ebb_pool_text(&pool, "%s/curves.png", folder), script, &pool);
  ebb_pool_clear(&pool);
}

static const char *bar_rows(const ebb_report_bar *bars, int count, ebb_pool *pool)
{
  const char *rows = "";
  for (int i = 0; i < count; i++)
    rows = ebb_pool_text(pool, "%s\"%s\" %.6g %.6g %.6g\n", rows, bars[i].name, bars[i].arena_mib, bars[i].process_mib,
                         bars[i].seconds);
  return rows;
}

/* A block of data for each mode's course, $course0 and so on. */
static const char *course_rows(const ebb_report_bar *bars, int count, ebb_pool *pool)
{
  const char *rows = "";
  for (int i = 0; i < count; i++) {
    const ebb_report_course *c = &bars[i].course;
    rows = ebb_pool_text(pool, "%s$course%d << EOD\n", rows, i);
    for (int k = 0; k < c->points; k++) rows = ebb_pool_text(pool, "%s%.6g %.6g\n", rows, c->seconds[k], c->mib[k]);
    rows = ebb_pool_text(pool, "%sEOD\n", rows);
  }
  return rows;
}

static const char *course_plot(const ebb_report_bar *bars, int count, ebb_pool *pool)
{
  const char *plot = "plot ";
  for (int i = 0; i < count; i++)
    plot = ebb_pool_text(pool, "%s%s$course%d using 1:2 with fsteps lw 2 title '%s'", plot, i ? ", " : "", i, bars[i].name);
  return plot;
}

void ebb_report_memory(const char *png, const char *title, const ebb_report_bar *bars, int count)
{
  ebb_pool    pool = {0};
  const char *script = ebb_pool_text(&pool,
    "$rows << EOD\n%sEOD\n%sset style fill solid 0.8 border -1\nset boxwidth 0.9\nset grid y\n"
    "set yrange [0:*]\nset key above\nset multiplot layout 1,3 title '%s'\nset ylabel 'peak memory, MiB'\n"
    "plot $rows using 2:xtic(1) with histograms title 'engine, planned and used' lc rgb '#1f6f8b', "
    "'' using 3 with histograms title 'whole process' lc rgb '#99a8b2'\n"
    "set ylabel 'seconds a training step'\nplot $rows using 4:xtic(1) with histograms notitle lc rgb '#c8553d'\n"
    "set ylabel 'memory of the engine, MiB'\nset xlabel 'seconds of one step'\nset xrange [0:*]\n%s\nunset multiplot",
    bar_rows(bars, count, &pool), course_rows(bars, count, &pool), quoted(title, &pool), course_plot(bars, count, &pool));
  draw(png, script, &pool);
  ebb_pool_clear(&pool);
}

/* value, as a number or a label, then MiB and seconds of each line; NaN where there is none. */
static const char *sweep_rows(const char *const *values, int points, bool numbers, const ebb_report_line *lines, int count, ebb_pool *pool)
{
  const char *rows = "", *quote = numbers ? "" : "\"";
  for (int i = 0; i < points; i++) {
    rows = ebb_pool_text(pool, "%s%s%s%s", rows, quote, values[i], quote);
    for (int k = 0; k < count; k++)
      rows = lines[k].mib[i] > 0 ? ebb_pool_text(pool, "%s %.6g %.6g", rows, lines[k].mib[i], lines[k].seconds[i]) : ebb_pool_text(pool, "%s NaN NaN", rows);
    rows = ebb_pool_text(pool, "%s\n", rows);
  }
  return rows;
}

/* A value on the axis: a number where it is one, else its place. */
static const char *sweep_plot(const ebb_report_line *lines, int count, bool numbers, int first, ebb_pool *pool)
{
  const char *plot = "plot ";
  for (int k = 0; k < count; k++)
    plot = ebb_pool_text(pool, "%s%s$rows using %s:%d%s with linespoints pt 7 lw 2 title '%s'", plot, k ? ", " : "", numbers ? "1" : "0",
                         first + 2 * k, numbers ? "" : ":xtic(1)", lines[k].name);
  return plot;
}

void ebb_report_sweep(const char *png, const char *title, const char *key, const char *const *values, int points, const ebb_report_line *lines,
                      int count)
{
  ebb_pool pool = {0};
  bool     numbers = true;
  for (int i = 0; i < points; i++) numbers = numbers && *values[i] && values[i][strspn(values[i], "0123456789.")] == 0;
  const char *script = ebb_pool_text(&pool,
    "$rows << EOD\n%sEOD\nset datafile missing NaN\nset grid\nset xlabel '%s'\nset yrange [0:*]\nset key top left\n"
    "set multiplot layout 1,2 title '%s'\nset ylabel 'memory of the process, MiB'\n%s\nset ylabel 'seconds a training step'\n%s\nunset multiplot",
    sweep_rows(values, points, numbers, lines, count, &pool), quoted(key, &pool), quoted(title, &pool), sweep_plot(lines, count, numbers, 2, &pool),
    sweep_plot(lines, count, numbers, 3, &pool));
  draw(png, script, &pool);
  ebb_pool_clear(&pool);
}
