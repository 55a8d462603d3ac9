//! Creating and deleting exchanges and bindings.

use std::sync::Arc;

use super::creation::Created;
use super::host::Vhost;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::queue::Queue;

impl Vhost {
    /// Creates an exchange, unless there is one of that name.
    pub async fn create_exchange(
        &self,
        exchange: Exchange,
    ) -> Result<Created<Arc<Exchange>>, BrokerError> {
        self.create_exchange_with(exchange, Proposal::none()).await
    }

    /// As [`Vhost::create_exchange`], with what is proposed besides in the same batch; not if there is one of that name.
    pub async fn create_exchange_with(
        &self,
        exchange: Exchange,
        also: Proposal,
    ) -> Result<Created<Arc<Exchange>>, BrokerError> {
        let (proposal, created) = self.propose(|view| view.create_exchange(&exchange)).await?;
        let proposal = match &created {
            Created::New(_) => proposal.and(also),
            Created::Existing(_) => proposal,
        };
        proposal.commit(&self.shared.committer).await?;
        Ok(created)
    }

    /// Deletes an exchange with its bindings, and the exchanges that delete themselves for it; with `if_unused`
    /// only if nothing is bound to it. Nothing if there is none.
    pub async fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<(), BrokerError> {
        self.delete_exchange_with(name, if_unused, Proposal::none())
            .await
    }

    /// As [`Vhost::delete_exchange`], with what is proposed besides in the same batch.
    pub async fn delete_exchange_with(
        &self,
        name: &str,
        if_unused: bool,
        also: Proposal,
    ) -> Result<(), BrokerError> {
        let (proposal, ()) = self
            .propose(|view| view.delete_exchange(name, if_unused))
            .await?;
        let proposal = proposal.and(also);
        Ok(proposal.commit(&self.shared.committer).await?)
    }

    /// Binds, unless it is bound so already. `check` is asked about a queue that is the destination, after everything
    /// else, as in RabbitMQ.
    pub async fn bind(
        &self,
        binding: Binding,
        check: impl Fn(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        self.change(|view| view.bind(&binding, &check)).await
    }

    /// Removes a binding, and the exchanges that delete themselves for it. Nothing if there is none. `check` is asked
    /// about a queue that it leads to.
    pub async fn unbind(
        &self,
        binding: &Binding,
        check: impl Fn(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        self.change(|view| view.unbind(binding, &check)).await
    }

    /// Makes and removes bindings, all of them together. What is bound already, or not bound, stays so.
    pub async fn rebind(
        &self,
        bind: Vec<Binding>,
        unbind: Vec<Binding>,
    ) -> Result<(), BrokerError> {
        self.rebind_with(bind, unbind, Proposal::none()).await
    }

    /// As [`Vhost::rebind`], with what is proposed besides in the same batch.
    pub async fn rebind_with(
        &self,
        bind: Vec<Binding>,
        unbind: Vec<Binding>,
        also: Proposal,
    ) -> Result<(), BrokerError> {
        let (proposal, ()) = self.propose(|view| view.rebind(&bind, &unbind)).await?;
        let proposal = proposal.and(also);
        Ok(proposal.commit(&self.shared.committer).await?)
    }
}
