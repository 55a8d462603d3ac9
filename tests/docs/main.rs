//! The pages for users say what is true: the table of options is current, links lead somewhere, and each command line and
//! configuration file is used as it stands.

mod command_lines; // runs them against a broker
mod configurations; // checks them with the binary
mod links;
mod options;
mod pages; // finds the pages and their blocks of code
