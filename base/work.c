/* SPDX-License-Identifier: Apache-2.0 */
#include "base/work.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

struct job {
	void (*fn)(void *arg);
	void *arg;
	struct job *next;
};

struct cf_work {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t more;
	struct job *first, **last;
	size_t waiting, queue_max;
	bool ending;
	unsigned idle, thread_count, thread_max;
	pthread_t threads[];
};

static struct job *next_job(struct cf_work *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->ending) {
		w->idle++;
		pthread_cond_wait(&w->more, &w->lock);
		w->idle--;
	}
	struct job *j = w->first;
	if (j) {
		w->first = j->next;
		if (!w->first)
			w->last = &w->first;
		w->waiting--;
	}
	pthread_mutex_unlock(&w->lock);
	return j;
}

static void *worker(void *arg)
{
	struct cf_work *w = arg;
	struct job *j;

	while ((j = next_job(w))) {
		j->fn(j->arg);
		free(j);
	}
	return NULL;
}

/* Under the lock, or before anybody else knows @w. Return: 0 or an errno. */
static int start_thread(struct cf_work *w)
{
	sigset_t all, old;

	/* Signals are the loop thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&w->threads[w->thread_count], NULL, worker, w);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->thread_count += e == 0;
	return e;
}

int cf_work_new(unsigned threads, size_t queue_max, struct cf_work **ret, struct cf_err *err)
{
	assert(threads >= 1 && threads <= 64);
	struct cf_work *w = cf_zalloc(sizeof(*w) + threads * sizeof(w->threads[0]));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	w->last = &w->first;
	w->queue_max = queue_max;
	w->thread_max = threads;
	int e = start_thread(w);

	if (e) {
		cf_work_free(w);
		return cf_fail_errno(err, e, "start a worker thread");
	}
	*ret = w;
	return 0;
}

int cf_work_add(struct cf_work *w, void (*fn)(void *arg), void *arg, struct cf_err *err)
{
	struct job *j = cf_zalloc(sizeof(*j));

	j->fn = fn;
	j->arg = arg;
	pthread_mutex_lock(&w->lock);
	bool full = w->waiting >= w->queue_max;
	if (!full) {
		*w->last = j;
		w->last = &j->next;
		w->waiting++;
		pthread_cond_signal(&w->more);
		/* Without another thread the job waits for one of those that are there. */
		if (w->waiting > w->idle && w->thread_count < w->thread_max)
			(void)!start_thread(w);
	}
	pthread_mutex_unlock(&w->lock);
	if (!full)
		return 0;
	free(j);
	return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu requests wait already: try again later",
	               w->queue_max);
}

struct cf_work *cf_work_free(struct cf_work *w)
{
	if (!w)
		return NULL;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->thread_count; i++)
		pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}
