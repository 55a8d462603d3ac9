// The API's samples as points of a chart.

/** The last ten minutes, one sample each five seconds. */
export const SAMPLES = {
  lengths_age: 600, lengths_incr: 5, msg_rates_age: 600, msg_rates_incr: 5, data_rates_age: 600, data_rates_incr: 5,
};

/** Samples of a level, such as a queue's length: `[[time, value]]`, oldest first. */
export function levels(details) {
  return (details?.samples ?? []).map(({ timestamp, sample }) => [timestamp, sample]).reverse();
}

/** Samples of a count that only grows, as its rate between each two samples. */
export function rates(details) {
  const points = levels(details);
  return points.slice(1).map(([time, value], index) => {
    const [before, earlier] = points[index];
    return [time, time > before ? Math.max(0, ((value - earlier) * 1000) / (time - before)) : 0];
  });
}

/** Names and colours of the message rates, in the order of a message's life. */
const RATES = [
  ["publish", "Publish", 1], ["confirm", "Confirm", 4], ["deliver_get", "Deliver and get", 2], ["ack", "Ack", 3], ["redeliver", "Redeliver", 5], ["return_unroutable", "Returned", 6],
];

/** Series of `message_stats` for a chart of rates. */
export function rateSeries(stats, names = RATES.map(([name]) => name)) {
  return RATES.filter(([name]) => names.includes(name)).map(([name, title, colour]) => ({
    title, colour, points: rates(stats?.[`${name}_details`]), now: stats?.[`${name}_details`]?.rate ?? 0,
  }));
}

/** Series of ready, unacknowledged and all messages of a queue or of all queues. */
export function lengthSeries(object) {
  return [["messages_ready", "Ready", 1], ["messages_unacknowledged", "Unacked", 2], ["messages", "Total", 6]].map(([name, title, colour]) => ({
    title, colour, points: levels(object?.[`${name}_details`]), now: object?.[name] ?? 0,
  }));
}
