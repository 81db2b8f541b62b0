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
	unsigned thread_count;
	pthread_t threads[];
};

static struct job *next_job(struct cf_work *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->ending)
		pthread_cond_wait(&w->more, &w->lock);
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

int cf_work_new(unsigned threads, size_t queue_max, struct cf_work **ret, struct cf_err *err)
{
	sigset_t all, old;

	assert(threads >= 1 && threads <= 64);
	struct cf_work *w = cf_zalloc(sizeof(*w) + threads * sizeof(w->threads[0]));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	w->last = &w->first;
	w->queue_max = queue_max;
	/* Signals are the loop thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; w->thread_count < threads; w->thread_count++) {
		int e = pthread_create(&w->threads[w->thread_count], NULL, worker, w);

		if (e) {
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			cf_work_free(w);
			return cf_fail_errno(err, e, "start a worker thread");
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
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
